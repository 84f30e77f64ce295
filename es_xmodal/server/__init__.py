"""How a shop calls it over HTTP: the same search as the library's, for back ends in any language."""
