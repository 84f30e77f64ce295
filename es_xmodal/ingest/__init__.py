"""How does a catalogue become an index."""
