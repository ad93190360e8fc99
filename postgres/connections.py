"""Plain psycopg connections beside the ORM's: for LISTEN, and for what the live streams read."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from socket import socket, socketpair
from typing import Any

import psycopg
from django.db import connection

_CONNECT_SECONDS = 5
# A peer that vanished without a word is noticed within half a minute.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def connection_parameters(*, application_name: str) -> dict[str, Any]:
    """Return psycopg's parameters of the ORM's own database; the name shows in pg_stat_activity."""
    ours = connection.get_connection_params()
    # The ORM's cursor is a synchronous one, its adapters are for the ORM's own fields.
    for name in ("cursor_factory", "context"):
        ours.pop(name, None)
    return {
        "connect_timeout": _CONNECT_SECONDS,
        **_KEEPALIVES,
        **ours,
        "application_name": application_name,
        "autocommit": True,
        # These connections are kept and ask the same again and again. The ORM, whose statements vary, says never.
        "prepare_threshold": 1,
    }


class NotifyListener:
    """Waits for a channel's NOTIFY, and for `stop()`, which any thread or signal handler may call."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._listener: psycopg.Connection | None = None
        self._waker, self._woken = _wake_pair()

    @contextmanager
    def listening(self, channel: str, *, application_name: str) -> Iterator[None]:
        """Hear the channel for as long as the block lasts; raises OperationalError where Postgres is away."""
        with psycopg.connect(**connection_parameters(application_name=application_name)) as listener:
            listener.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            self._listener = listener
            try:
                yield
            finally:
                self._listener = None

    def wait(self, *, seconds: float) -> None:
        """Return at the first ring, at `stop()`, or when the time is over."""
        if self.is_stopped:
            return
        sources: list[Any] = [self._woken, *([self._listener] if self._listener else [])]
        select(sources, [], [], seconds)
        if self._listener:
            # However often it rang: one look answers all.
            for _ in self._listener.notifies(timeout=0):
                pass

    def stop(self) -> None:
        """End the present wait and every later one."""
        self.is_stopped = True
        # Told many times, or after the end: the first was enough.
        with suppress(OSError):
            self._waker.send(b"x")

    def close(self) -> None:
        """Free what the doorbell holds; it waits no more."""
        self._waker.close()
        self._woken.close()


def _wake_pair() -> tuple[socket, socket]:
    waker, woken = socketpair()
    # A signal handler must never block, however often it is called.
    waker.setblocking(False)
    return waker, woken
