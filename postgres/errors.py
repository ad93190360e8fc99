"""Tells an outage of Postgres, which ends by itself, from a bug, which must be seen."""

import psycopg


def is_outage(error: Exception) -> bool:
    """Tell whether the error means that Postgres can't be reached, and not a missing table or a wrong statement."""
    cause = error.__cause__ or error
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
