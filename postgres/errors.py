"""Distinguishes an outage of Postgres, which ends by itself, from a bug, which must not be hidden."""

import psycopg


def is_outage(error: Exception) -> bool:
    """Return whether the error means that Postgres can't be reached, and not a missing table or a wrong statement."""
    cause = error.__cause__ or error
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
