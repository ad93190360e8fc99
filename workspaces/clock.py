"""The database's clock, importable from this app."""

from postgres.clock import database_now

__all__ = ["database_now"]
