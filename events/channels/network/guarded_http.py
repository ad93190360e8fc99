"""HTTP connections that lead only to addresses that channels may reach, and that end in time.

The address is checked when the connection is made and is the one connected to, so a name that resolves differently a
moment later changes nothing. Redirects are not followed here.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

from events.channels.network.addresses import Purpose, resolve_allowed

# When the current request of this thread has to be over, on the monotonic clock.
_ends_at: ContextVar[float] = ContextVar("ends_at")


def limit_request(*, seconds: float) -> None:
    """End this thread's next requests this many seconds from now, even if the receiver sends byte by byte."""
    _ends_at.set(time.monotonic() + seconds)


class Connections:
    """Guarded kept-alive connections, as many as are in use at the same time.

    Each is a pool with one connection. Threads that share a larger pool wait longer for its lock than for the network.
    """

    def __init__(self) -> None:
        # Create it once: loading the system's certificates takes longer than a request.
        self._ssl_context = ssl.create_default_context()
        self._ssl_context.set_alpn_protocols(["http/1.1"])
        self._idle: deque[httpcore.ConnectionPool] = deque()

    @contextmanager
    def borrow(self) -> Iterator[httpcore.ConnectionPool]:
        """Lend a connection to this thread for the duration of the block."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = httpcore.ConnectionPool(
                ssl_context=self._ssl_context,
                max_connections=1,
                network_backend=_GuardedBackend(),
                keepalive_expiry=30,
            )
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        """Close all connections that are not in use."""
        while self._idle:
            self._idle.pop().close()


def _limit(timeout: float | None) -> float:
    """Return the timeout, or the seconds that the request has left if they are fewer."""
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("The request took too long.")
    return left if timeout is None else min(left, timeout)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to the address that was checked."""

    _backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = resolve_allowed(host, port, purpose=Purpose.CHANNEL)
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *(socket_options or [])]
        return _TimedStream(self._backend.connect_tcp(address, port, _limit(timeout), local_address, options))


class _TimedStream(httpcore.NetworkStream):
    """Gives each read and write only the time that its request has left."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _limit(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _limit(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _limit(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
