"""The one clock, under the name that this app's modules read it by."""

from postgres.clock import database_now

__all__ = ["database_now"]
