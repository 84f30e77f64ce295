"""Embedding on other machines: what travels, what a worker does, how the driver keeps the order."""
