"""Django's own Postgres engine, where what is done all the time costs less.

Points in time are read by the standard library, and whether a connection is still good is mostly seen at its socket.
"""

import select
import time
from datetime import UTC, datetime
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import BaseTzLoader


class TimeLoader(BaseTzLoader):
    """Reads a timestamptz as Django's loader does; what the standard library can't read is left to that one."""

    timezone = UTC

    def load(self, data: Any) -> Any:
        try:
            return datetime.fromisoformat(str(data, "ascii"))
        except ValueError:
            # Before Christ, after 9999, or infinite: psycopg says so in its own words.
            return super().load(data)


# For so long a silent socket is believed. What the network lost in silence is found out by the question after that.
BELIEVED_SECONDS = 5.0


class DatabaseWrapper(base.DatabaseWrapper):
    """Looks at a connection's socket before it asks `SELECT 1`, as Django does for each request and task.

    A server that ended the connection has said so: something is there to be read, and then the question is asked.
    """

    # Django's own: whether this request's first question may be asked.
    health_check_done: bool
    _asked_at = 0.0

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.adapters.register_loader("timestamptz", TimeLoader)
        self._asked_at = time.monotonic()
        return connection

    def close_if_health_check_failed(self) -> None:
        if not self.health_check_done and self._is_believed():
            self.health_check_done = True
        super().close_if_health_check_failed()

    def is_usable(self) -> bool:
        self._asked_at = time.monotonic()
        return bool(super().is_usable())

    def _is_believed(self) -> bool:
        is_recent = time.monotonic() < self._asked_at + BELIEVED_SECONDS
        return is_recent and self.connection is not None and not self.connection.closed and self._is_silent()

    def _is_silent(self) -> bool:
        look = select.poll()
        look.register(self.connection.fileno(), select.POLLIN)
        return not look.poll(0)
