"""The database's clock. Slipway uses no other, since the clocks of its hosts may differ."""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """Return the database's current time, inside a transaction too, where SQL's `now()` is the transaction's start."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
