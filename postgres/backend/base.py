"""Django's Postgres engine, with time limits, and made faster in two places that every request uses.

Timestamps are parsed by the standard library, and a connection's health is mostly judged by its socket.
"""

import select
import time
from datetime import UTC, datetime
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import BaseTzLoader

from postgres.time_limits import server_options


class TimeLoader(BaseTzLoader):
    """Parses a timestamptz with the standard library, and leaves what that can't parse to Django's loader."""

    timezone = UTC

    def load(self, data: Any) -> Any:
        try:
            return datetime.fromisoformat(str(data, "ascii"))
        except ValueError:
            # Before year 1, after 9999, or infinite: psycopg raises an error that says so.
            return super().load(data)


# How long a silent socket counts as healthy. After that `SELECT 1` finds a connection that the network lost.
TRUSTED_SECONDS = 5.0


class DatabaseWrapper(base.DatabaseWrapper):
    """Looks at a connection's socket before it runs `SELECT 1`, which Django does once for each request and task.

    If the server has closed the connection, the socket is readable, and `SELECT 1` is run.
    """

    # Declared by Django.
    health_check_done: bool
    _checked_at = 0.0

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        # Those of DATABASE_URL come last, so they win.
        if options := f"{server_options()} {parameters.get('options', '')}".strip():
            parameters["options"] = options
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.adapters.register_loader("timestamptz", TimeLoader)
        self._checked_at = time.monotonic()
        return connection

    def close_if_health_check_failed(self) -> None:
        if not self.health_check_done and self._looks_healthy():
            self.health_check_done = True
        super().close_if_health_check_failed()

    def is_usable(self) -> bool:
        self._checked_at = time.monotonic()
        return bool(super().is_usable())

    def _looks_healthy(self) -> bool:
        is_recent = time.monotonic() < self._checked_at + TRUSTED_SECONDS
        if not is_recent or self.connection is None or self.connection.closed:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)
