"""A stream in Redis."""
