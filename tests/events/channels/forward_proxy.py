"""A company's HTTP proxy: forwards requests and tunnels (CONNECT), and stores what was asked of it."""

import http.client
import socket
import threading
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS


class ForwardProxy(ThreadingHTTPServer):
    """Connects every target to one server, as if it had looked its name up."""

    daemon_threads = True

    def __init__(self, target_port):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port = target_port
        # (method, target, Proxy-Authorization)
        self.asked = []

    @property
    def url(self):
        return f"http://user:pass%40word@127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ForwardProxy
    protocol_version = "HTTP/1.1"

    def note(self):
        self.server.asked.append((self.command, self.path, self.headers["Proxy-Authorization"]))

    def do_POST(self):
        self.note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=PATIENCE_SECONDS)
        with closing(connection) as target:
            target.request("POST", urlsplit(self.path).path, body, {"Content-Type": "application/json"})
            answer = target.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        if answer.headers["Location"]:
            self.send_header("Location", answer.headers["Location"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_CONNECT(self):
        self.note()
        if self.server.target_port is None:
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.server.target_port)) as target:
            threading.Thread(target=_copy, args=(target, self.connection), daemon=True).start()
            _copy(self.connection, target)
        self.close_connection = True

    def log_message(self, format, *arguments):
        """Log nothing."""


def _copy(source, target):
    with suppress(OSError):
        while received := source.recv(65_536):
            target.sendall(received)
        target.shutdown(socket.SHUT_WR)


def forward_proxy(target_port):
    """Run a proxy for the duration of a block. With `None`, it refuses tunnels."""
    return serving(ForwardProxy(target_port))
