"""The version of the package; also written into the `_meta` of every index."""

__version__ = "0.1.0"
