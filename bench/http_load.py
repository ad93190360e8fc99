"""Send HTTP requests over a few connections, each as soon as the one before it is answered.

Written with sockets and bytes, so that the sender takes as little of the processors as it can.
"""

import selectors
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

_MOST_WAITING_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What was measured: `times` are those of each request, in seconds."""

    per_second: float
    times: list[float]

    def percentile(self, percent: float) -> float:
        """Return the time below which this share of the requests was answered, in milliseconds."""
        return sorted(self.times)[int(len(self.times) * percent / 100)] * 1000


def request(path: str, *, port: int, token: str, body: bytes) -> bytes:
    """Return the bytes of a POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection:
    def __init__(self, port: int, requests: Iterable[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._requests = iter(requests)
        self._answer = b""
        self._sent_at = 0.0

    def send(self) -> bool:
        """Send the next request; return whether there was one."""
        request = next(self._requests, None)
        if request is None:
            return False
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)
        return True

    def receive(self) -> float | None:
        """Read what has arrived; return how long the answer took once it is whole. Raises RuntimeError if not 20x."""
        self._answer += self.socket.recv(65_536)
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return None
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return None
        if not head.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(self._answer.decode())
        self._answer = b""
        return time.perf_counter() - self._sent_at


def load(port: int, connections: Sequence[Iterable[bytes]], *, seconds: float) -> Load:
    """Send each connection's requests, one after the other, for some seconds or until there are no more.

    Each connection has at least one. Returns when the last one that was sent is answered.
    """
    began = time.perf_counter()
    times = list(_times(port, connections, end=began + seconds))
    return Load(per_second=len(times) / (time.perf_counter() - began), times=times)


def _times(port: int, connections: Sequence[Iterable[bytes]], *, end: float) -> Iterator[float]:
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for connection in [_Connection(port, requests) for requests in connections]:
            stack.enter_context(connection.socket)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send()
        while selector.get_map():
            ready = selector.select(_MOST_WAITING_SECONDS)
            if not ready:
                raise TimeoutError(f"No answer in {_MOST_WAITING_SECONDS} s.")
            for key, _ in ready:
                taken = key.data.receive()
                if taken is not None:
                    yield taken
                    if time.perf_counter() > end or not key.data.send():
                        selector.unregister(key.fileobj)
