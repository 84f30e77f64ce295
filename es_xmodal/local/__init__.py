"""A real Elasticsearch on this machine, for trying and testing."""
