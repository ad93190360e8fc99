"""The one clock: the database's. Every process of a deployment agrees on it, whatever its host's clock says."""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """Return the database's present time; inside a transaction too (`now()` would stand still there)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
