"""HTTP connections that lead only to addresses that channels may reach, and that end in time.

The address is checked when the connection is made and is the one connected to, so a name that resolves differently a
moment later changes nothing. With OUTBOUND_PROXY, the target is judged before each request. Redirects are not followed
here.
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
from django.conf import settings

from events.channels.network.addresses import Purpose, origin_of, resolve_allowed
from events.channels.network.outbound_proxy import is_proxy, judge_target, proxy_login

# When the current request of this thread has to be over, on the monotonic clock.
_ends_at: ContextVar[float] = ContextVar("ends_at")


def limit_request(*, seconds: float) -> None:
    """End this thread's next requests this many seconds from now, even if the receiver sends byte by byte."""
    _ends_at.set(time.monotonic() + seconds)


class Connections:
    """Guarded kept-alive connections to one target, as many as are in use at the same time.

    Each is a pool with one connection. Threads that share a larger pool wait longer for its lock than for the network.
    """

    def __init__(self, url: httpcore.URL) -> None:
        self._target = url.origin.host.decode(), url.origin.port
        # Create it once: loading the system's certificates takes longer than a request.
        self._ssl_context = ssl.create_default_context()
        self._ssl_context.set_alpn_protocols(["http/1.1"])
        self._idle: dict[bool, deque[httpcore.ConnectionPool]] = {False: deque(), True: deque()}

    @contextmanager
    def borrow(self) -> Iterator[httpcore.ConnectionPool]:
        """Lend a connection to this thread for the duration of the block. Raises ForbiddenAddress, Unresolved."""
        # Without a proxy, the connection's own address is checked when it is made.
        is_proxied = bool(settings.OUTBOUND_PROXY) and judge_target(*self._target)
        try:
            connection = self._idle[is_proxied].pop()
        except IndexError:
            connection = self.connect(is_proxied=is_proxied)
        try:
            yield connection
        finally:
            self._idle[is_proxied].append(connection)

    def connect(self, *, is_proxied: bool) -> httpcore.ConnectionPool:
        """Return a pool of one connection, which is made with its first request."""
        options: dict[str, Any] = {
            "ssl_context": self._ssl_context,
            "max_connections": 1,
            "network_backend": _GuardedBackend(),
            "keepalive_expiry": 30,
        }
        if not is_proxied:
            return httpcore.ConnectionPool(**options)
        scheme, host, port = origin_of(settings.OUTBOUND_PROXY)
        url = httpcore.URL(scheme=scheme, host=str(host), port=port, target="/")
        return httpcore.HTTPProxy(url, proxy_auth=proxy_login(), **options)

    def close(self) -> None:
        """Close all connections that are not in use."""
        for connections in self._idle.values():
            while connections:
                connections.pop().close()


def _limit(timeout: float | None) -> float:
    """Return the timeout, or the seconds that the request has left if they are fewer."""
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("The request took too long.")
    return left if timeout is None else min(left, timeout)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to the address that was checked, or to the proxy."""

    _backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = host if is_proxy(host, port) else resolve_allowed(host, port, purpose=Purpose.CHANNEL)
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
