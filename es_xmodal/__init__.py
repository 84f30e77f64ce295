"""Search by words, by photo, or by both, in the Elasticsearch a shop already runs."""
