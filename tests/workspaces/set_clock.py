"""A clock that tests set, in place of the database's: for everything that asks the database for the time."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import connection

# The search path of this connection finds these functions before those of Postgres.
_FUNCTIONS = ("clock_timestamp", "statement_timestamp", "now")
_FUNCTION = (
    "CREATE FUNCTION own_clock.{}() RETURNS timestamptz STABLE LANGUAGE sql"
    " AS $$ SELECT current_setting('own_clock.now')::timestamptz $$"
)


class SetClock:
    """A clock that stands still until a test advances it."""

    def __init__(self):
        self.set(datetime(2030, 1, 1, tzinfo=UTC))

    def set(self, now):
        self.now = now
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('own_clock.now', %s, false)", [now.isoformat()])

    def advance(self, **by):
        self.set(self.now + timedelta(**by))


@contextmanager
def set_clock():
    """Replace the clock for this thread's connection while the block runs."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA own_clock")
        for name in _FUNCTIONS:
            cursor.execute(_FUNCTION.format(name))
        cursor.execute("SET search_path = own_clock, public, pg_catalog")
    try:
        yield SetClock()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET search_path")
            cursor.execute("DROP SCHEMA own_clock CASCADE")
