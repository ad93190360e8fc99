"""The HTTP API as a whole."""
