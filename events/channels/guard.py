"""HTTP connections that only lead where channels may go, and that end in time.

The address is judged when the connection is made, and is the one connected to: a name that changes its mind between
the look and the connection changes nothing. Redirects are not followed by this layer.
"""

import socket
import ssl
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import httpcore

from events.channels.addresses import reachable_address

# The time at which the present request must be over, on the monotonic clock; each thread has its own.
_ends_at: ContextVar[float] = ContextVar("ends_at")


def limit_request(*, seconds: float) -> None:
    """Let the requests that this thread makes from now on end within that time, whatever the other side trickles."""
    _ends_at.set(time.monotonic() + seconds)


def guarded_pool(*, connections: int) -> httpcore.ConnectionPool:
    """Return a pool of kept-alive connections under guard."""
    return httpcore.ConnectionPool(
        ssl_context=_tls_context(), max_connections=connections, network_backend=_GuardedBackend(), keepalive_expiry=30
    )


def _tls_context() -> ssl.SSLContext:
    # Ours, not httpcore's: the system's certificates, to which an operator can add his own.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


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
