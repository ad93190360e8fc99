"""A platform for agents under test: a real HTTP server with prepared answers that records all requests."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS


class Call(NamedTuple):
    """One request of the agent: the last word of its path, its token and its body."""

    name: str
    token: str
    body: dict[str, Any]


class PlatformStub:
    """`answers` maps a call to the answers for its first requests, in order; the last one stays.

    Two answer nothing: status 0 cuts the connection off, and an event instead of a body holds it until it is set.
    """

    def __init__(self, url):
        self.url = url
        self.calls = []
        self.answers = {}
        self._changed = threading.Condition()

    def answer(self, call):
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
            answers = self.answers.get(call.name, [(200, {"status": "ok"})])
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def named(self, name):
        return [call for call in self.calls if call.name == name]

    def wait_for(self, name, *, times=1, seconds=PATIENCE_SECONDS):
        """Wait until there were this many calls of this name. Return the latest one."""
        self.wait_until(lambda: len(self.named(name)) >= times, seconds=seconds)
        return self.named(name)[-1]

    def wait_until(self, holds, *, seconds=PATIENCE_SECONDS):
        with self._changed:
            assert self._changed.wait_for(holds, seconds), f"received only {[call.name for call in self.calls]}"


@contextmanager
def running_platform():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    stub = PlatformStub(f"http://127.0.0.1:{server.server_address[1]}")
    server.stub = stub
    with serving(server):
        yield stub


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = self.headers["Authorization"].removeprefix("Bearer ")
        status, answer = self.server.stub.answer(Call(self.path.rpartition("/")[2], token, body))
        if isinstance(answer, threading.Event):
            answer.wait(10 * PATIENCE_SECONDS)
        if status == 0 or isinstance(answer, threading.Event):
            return
        payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format, *arguments):
        """Log nothing, so that the test's output stays readable."""
