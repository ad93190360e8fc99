"""The database's clock, and times from outside. Slipway uses no other clock, since those of its hosts may differ."""

from datetime import UTC, datetime

from django.db import connection

_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def database_now() -> datetime:
    """Return the database's current time, inside a transaction too, where SQL's `now()` is the transaction's start."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC, which it is taken for if it names no zone. Postgres refuses offsets of 16 hours and more.

    The first or the last time that there is stands for those that lie beyond in UTC.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _FIRST if moment.year == _FIRST.year else _LAST
