"""Plain psycopg connections beside the ORM's: for LISTEN, and for reading the event log for live streams."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from socket import socketpair
from typing import Any

import psycopg
from django.db import connection

_CONNECT_SECONDS = 5
# Notice a server that vanished without closing the connection within half a minute.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def connection_parameters(*, application_name: str) -> dict[str, Any]:
    """Return psycopg's parameters for the ORM's database. pg_stat_activity shows the name."""
    parameters = connection.get_connection_params()
    # The ORM's cursor is synchronous, and its adapters are for the ORM's fields.
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    return {
        "connect_timeout": _CONNECT_SECONDS,
        **_KEEPALIVES,
        **parameters,
        "application_name": application_name,
        "autocommit": True,
        # These connections repeat a few statements. The ORM's default is never to prepare, since its statements vary.
        "prepare_threshold": 1,
    }


class NotifyListener:
    """Waits for a channel's NOTIFY, or for `stop()`, which any thread or signal handler may call."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._connection: psycopg.Connection | None = None
        self._stop_sender, self._stop_receiver = socketpair()
        # A signal handler must not block, however often it is called.
        self._stop_sender.setblocking(False)

    @contextmanager
    def listening(self, channel: str, *, application_name: str) -> Iterator[None]:
        """Listen on the channel while the block runs. Raises OperationalError if Postgres can't be reached."""
        with psycopg.connect(**connection_parameters(application_name=application_name)) as listener:
            listener.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            self._connection = listener
            try:
                yield
            finally:
                self._connection = None

    def wait(self, *, seconds: float) -> None:
        """Return at the first notification, at `stop()`, or after `seconds`."""
        if self.is_stopped:
            return
        sources: list[Any] = [self._stop_receiver, *([self._connection] if self._connection else [])]
        select(sources, [], [], seconds)
        if self._connection:
            # Take all notifications, since one round of work serves any number of them.
            for _ in self._connection.notifies(timeout=0):
                pass

    def stop(self) -> None:
        """End this wait and every later one."""
        self.is_stopped = True
        # The buffer is full or the socket closed: an earlier call has done it.
        with suppress(OSError):
            self._stop_sender.send(b"x")

    def close(self) -> None:
        """Close the sockets. The listener can't wait any more."""
        self._stop_sender.close()
        self._stop_receiver.close()
