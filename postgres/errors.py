"""Tells an outage, which heals with time, from a mistake, which must be seen."""

import psycopg


def is_outage(error: Exception) -> bool:
    """Tell whether this is Postgres being away, and not a missing table or a wrong statement."""
    cause = error.__cause__ or error
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
