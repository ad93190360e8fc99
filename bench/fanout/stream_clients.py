"""Open many live streams from one process and measure how long each event takes to reach each socket.

python -m bench.fanout.stream_clients PORT PATH CLIENTS EVENTS SECONDS [AUTHORIZATION]
Prints `ready` when all streams are open, then `{"milliseconds": […], "complete": true|false}` as JSON.
"""

import json
import re
import selectors
import socket
import sys
import time

_SENT = re.compile(rb'"sent": ?"(\d+)"')
_OPEN = b": stream opened\n\n"


class Client:
    """One stream; `received` counts its events."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.sendall(request)
        self.rest = b""
        self.received = 0
        while _OPEN not in self.rest:
            self.rest += self.socket.recv(65_536)
        self.rest = b""
        self.socket.setblocking(False)

    def read(self) -> list[int]:
        """Return the sending times of newly arrived events, in nanoseconds of the monotonic clock."""
        data = self.rest + self.socket.recv(1 << 20)
        whole, end, self.rest = data.rpartition(b"\n\n")
        stamps = [int(stamp) for stamp in _SENT.findall(whole + end)]
        self.received += len(stamps)
        return stamps


def main(port: int, path: str, clients: int, events: int, seconds: float, authorization: str = "") -> None:
    credential = f"Authorization: {authorization}\r\n" if authorization else ""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{credential}\r\n".encode()
    everyone = [Client(port, request) for _ in range(clients)]
    print("ready", flush=True)  # noqa: T201 (the parent process reads it)
    latencies = _listen(everyone, total=clients * events, seconds=seconds)
    complete = all(client.received == events for client in everyone)
    print(json.dumps({"milliseconds": latencies, "complete": complete}))  # noqa: T201


def _listen(everyone: list[Client], *, total: int, seconds: float) -> list[float]:
    latencies: list[float] = []
    end = time.monotonic() + seconds
    with selectors.EpollSelector() as selector:
        for client in everyone:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while len(latencies) < total and time.monotonic() < end:
            for key, _ in selector.select(0.2):
                stamps = key.data.read()
                now = time.monotonic_ns()
                latencies += [round((now - stamp) / 1e6, 3) for stamp in stamps]
    return latencies


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), *sys.argv[6:])
