"""An independent receiver of webhooks: the standard library's HTTP server, and the signature's own library."""

import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

from tests.waiting import PATIENCE_SECONDS


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What the receiver says next. `status` 0 resets the connection."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    wait_seconds: float = 0
    # Is not given before this.
    released: threading.Event | None = None
    # Sends the body a byte a time, for ever.
    trickles: bool = False


class Receiver(ThreadingHTTPServer):
    """Keeps what it gets, and answers as the test says: always the same, or by a function of the request."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.got = []
        self.taken = []
        self.answer = lambda request: Answer()
        # The clients' ports: a connection that is used again shows once.
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

        A signature holds for five minutes: whoever waits longer for the rest asks meanwhile.
        """
        hook, verified = Webhook(secret), self._verified[secret]
        with self.lock:
            new = self.taken[len(verified) :]
        verified += [{"id": each.headers["webhook-id"], **hook.verify(each.body, each.headers)} for each in new]
        return list(verified)

    def handle_error(self, request, client_address):
        """Say nothing: a client that gave up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def setup(self):
        super().setup()
        self.server.ports.add(self.client_address[1])
        # Headers and body of an answer are two packets: without this the second waits for the client's ack.
        self.connection.setsockopt(6, 1, True)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # Its sender was killed in the middle: that is no request.
            self.close_connection = True
            return
        request = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        with self.server.lock:
            self.server.got.append(request)
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
            # Before its sender can know.
            if 200 <= answer.status < 300:
                self.server.taken.append(request)
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
        """Say nothing."""


@contextmanager
def receiving(port=0):
    """A receiver that listens for as long as the block lasts."""
    receiver = Receiver(port)
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join(PATIENCE_SECONDS)
