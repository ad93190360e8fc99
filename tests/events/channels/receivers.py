"""A receiver of webhooks: the standard library's HTTP server, verifying with the library of Standard Webhooks."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """How the receiver answers. Status 0 resets the connection."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    wait_seconds: float = 0
    # Waits for this event before answering.
    released: threading.Event | None = None
    # Sends the body byte by byte and never ends.
    trickles: bool = False


class Receiver(ThreadingHTTPServer):
    """Stores requests in `received`, and those answered with 2xx in `accepted`. Tests replace the function `answer`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.received = []
        self.accepted = []
        self.answer = lambda request: Answer()
        # The clients' ports: a reused connection appears once.
        self.ports = set()
        # Called when a request has been answered.
        self.finished = lambda: None
        self.lock = threading.Lock()
        self._verified = defaultdict(list)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def messages(self, secret):
        """Return the bodies that were answered with 2xx, each verified: {"id", "type", "timestamp", "data"}.

        A signature is valid for five minutes: call this now and then while waiting for longer.
        """
        hook, verified = Webhook(secret), self._verified[secret]
        with self.lock:
            new = self.accepted[len(verified) :]
        verified += [{"id": each.headers["webhook-id"], **hook.verify(each.body, each.headers)} for each in new]
        return list(verified)

    def handle_error(self, request, client_address):
        """Log nothing: some tests let the client give up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def setup(self):
        super().setup()
        self.server.ports.add(self.client_address[1])
        # TCP_NODELAY: otherwise the body's packet waits for the client to acknowledge the headers.
        self.connection.setsockopt(6, 1, True)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender was killed while sending.
            self.close_connection = True
            return
        request = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        with self.server.lock:
            self.server.received.append(request)
            answer = self.server.answer(request)
        if answer.released:
            answer.released.wait(PATIENCE_SECONDS)
        if answer.wait_seconds:
            threading.Event().wait(answer.wait_seconds)
        if answer.status == 0:
            self.connection.close()
            self.close_connection = True
            return
        with self.server.lock:
            self.server.finished()
            # Before the answer, so that the sender can't count it first.
            if 200 <= answer.status < 300:
                self.server.accepted.append(request)
        self._say(answer)

    def _say(self, answer):
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "10000" if answer.trickles else str(len(answer.body)))
        self.end_headers()
        while answer.trickles:
            self.wfile.write(b"\n")
            threading.Event().wait(0.3)
        self.wfile.write(answer.body)

    def log_message(self, format, *arguments):
        """Log nothing."""


def receiving(port=0):
    """Run a receiver for the duration of a block."""
    return serving(Receiver(port))
