"""HTTP connections that only lead where channels may go, and that end in time.

The address is judged when the connection is made, and is the one connected to: a name that changes its mind between
the look and the connection changes nothing. Redirects are not followed by this layer.
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

from events.channels.network.addresses import reachable_address

# The time at which the present request must be over, on the monotonic clock; each thread has its own.
_ends_at: ContextVar[float] = ContextVar("ends_at")


def limit_request(*, seconds: float) -> None:
    """Let the requests that this thread makes from now on end within that time, whatever the other side trickles."""
    _ends_at.set(time.monotonic() + seconds)


class Connections:
    """Kept-alive connections under guard; as many as are used at a time.

    Each is a pool of one: threads that share a larger one spend more time waiting for its lock than for the network.
    """

    def __init__(self) -> None:
        # Made once: reading the system's certificates takes longer than a request.
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._idle: deque[httpcore.ConnectionPool] = deque()

    @contextmanager
    def one(self) -> Iterator[httpcore.ConnectionPool]:
        """Lend a connection to this thread."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._new()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        """Close all that are not lent."""
        while self._idle:
            self._idle.pop().close()

    def _new(self) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=self._tls, max_connections=1, network_backend=_GuardedBackend(), keepalive_expiry=30
        )


def _seconds_left(timeout: float | None) -> float:
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("It took too long.")
    return left if timeout is None else min(left, timeout)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to the address that was judged."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = reachable_address(host, port)
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *(socket_options or [])]
        stream = self._plain.connect_tcp(address, port, _seconds_left(timeout), local_address, options)
        return _TimedStream(stream)


class _TimedStream(httpcore.NetworkStream):
    """Gives each read and write only the time that its request has left."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _seconds_left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _seconds_left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
