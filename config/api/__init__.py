"""The HTTP API as a whole: the NinjaAPI, JSON bodies, error answers."""
