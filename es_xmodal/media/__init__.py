"""How do I get a picture safely."""
