"""How do I talk to Elasticsearch: client, capabilities, error mapping."""
