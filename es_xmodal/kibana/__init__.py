"""How do people look at it in Kibana: saved objects, built without I/O, and the call that imports them."""
