"""How a person calls it: one module a command, loaded when it is asked for."""
