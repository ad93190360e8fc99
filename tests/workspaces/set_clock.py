"""The database's clock in the test's hand: whatever asks it for the time, in Python or in SQL, gets the test's."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import connection

# Found before Postgres' own by this connection's search path, so by every statement of the product.
_FUNCTIONS = ("clock_timestamp", "statement_timestamp", "now")
_FUNCTION = (
    "CREATE FUNCTION own_clock.{}() RETURNS timestamptz STABLE LANGUAGE sql"
    " AS $$ SELECT current_setting('own_clock.now')::timestamptz $$"
)


class SetClock:
    """Stands still until it is told to go on."""

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
    """Let this thread's connection live in the test's own time while the block runs."""
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
