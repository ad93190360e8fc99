"""A small pooler as PgBouncer in transaction mode: each transaction of a client runs on another server connection.

Nothing of a session outlives a transaction, then: prepared statements, LISTEN, cursors WITH HOLD, temporary tables,
SET. Clients need no password. What they ask for in their startup is dropped, as by `ignore_startup_parameters`.
"""

import os
import select
import socket
import struct
import threading
from collections import deque
from contextlib import contextmanager, suppress

import psycopg

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
# Each of these is answered with one ReadyForQuery.
_ASKS = (b"Q", b"S", b"F")
_TERMINATE, _READY, _IDLE = b"X", b"Z", b"I"
_TOLD = ("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes")
_TOLD += ("standard_conforming_strings",)


class TransactionPooler:
    """Serves clients with a fixed number of server connections, in turn."""

    def __init__(self, url, *, size):
        self._servers = deque(ServerConnection(url) for _ in range(size))
        self._told = self._servers[0].parameters()
        self._is_free = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        # The server connections that ran a client's transactions, in order.
        self.used = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()
        for server in self._servers:
            server.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, suppress(ConnectionError, OSError):
            if not self._greet(client):
                return
            messages = Messages(client)
            while True:
                messages.receive()
                while message := messages.next():
                    if message[:1] == _TERMINATE:
                        return
                    self._run_transaction(client, messages, message)

    def _greet(self, client):
        """Answer a client's startup. Return whether it will send statements."""
        while True:
            (length,) = struct.unpack("!i", read(client, 4))
            (code,) = struct.unpack("!i", read(client, length - 4)[:4])
            if code == _CANCEL:
                return False
            if code not in (_SSL, _GSS):
                break
            client.sendall(b"N")
        answers = [encoded(b"R", struct.pack("!i", 0))]
        answers += [encoded(b"S", f"{name}\0{value}\0".encode()) for name, value in self._told.items()]
        answers += [encoded(b"K", struct.pack("!ii", 1, 1)), encoded(_READY, _IDLE)]
        client.sendall(b"".join(answers))
        return True

    def _run_transaction(self, client, messages, message):
        """Pass messages both ways until the server has answered all of them and is outside of a transaction."""
        with self._is_free:
            self._is_free.wait_for(lambda: self._servers)
            server = self._servers.popleft()
        self.used.append(server.pid)
        is_whole = False
        try:
            answers = Messages(server.socket)
            unanswered = self._pass_on(server, message)
            status = b""
            while unanswered or status != _IDLE:
                while message := messages.next():
                    unanswered += self._pass_on(server, message)
                for readable in select.select([client, server.socket], [], [])[0]:
                    (messages if readable is client else answers).receive()
                while answer := answers.next():
                    client.sendall(answer)
                    if answer[:1] == _READY:
                        unanswered, status = unanswered - 1, answer[-1:]
            is_whole = True
        finally:
            if not is_whole:
                server = server.replaced()
            with self._is_free:
                # Behind the others, so that the next transaction runs elsewhere.
                self._servers.append(server)
                self._is_free.notify()

    def _pass_on(self, server, message):
        """Send a client's message to a server. Return how many ReadyForQuery it calls for."""
        if message[:1] == _TERMINATE:
            raise ConnectionError("The client left within a transaction.")
        server.socket.sendall(message)
        return message[:1] in _ASKS


class ServerConnection:
    """A connection that libpq has signed in, used as a bare socket from then on."""

    def __init__(self, url):
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True)
        self.pid = self._connection.info.backend_pid
        self.socket = socket.socket(fileno=os.dup(self._connection.fileno()))
        self.socket.setblocking(True)

    def parameters(self):
        info = self._connection.info
        return {name: value for name in _TOLD if (value := info.parameter_status(name)) is not None}

    def replaced(self):
        self.close()
        return ServerConnection(self._url)

    def close(self):
        self.socket.close()
        self._connection.close()


class Messages:
    """The messages that arrive at a socket: each has a type of one byte and its length."""

    def __init__(self, source):
        self._source, self._data = source, b""

    def receive(self):
        data = self._source.recv(65_536)
        if not data:
            raise ConnectionError("The other side has left.")
        self._data += data

    def next(self):
        """Return the next whole message, or nothing."""
        if len(self._data) < 5:
            return b""
        end = 1 + struct.unpack("!i", self._data[1:5])[0]
        if len(self._data) < end:
            return b""
        message, self._data = self._data[:end], self._data[end:]
        return message


def encoded(kind, content):
    return kind + struct.pack("!i", 4 + len(content)) + content


def read(source, length):
    data = b""
    while len(data) < length:
        part = source.recv(length - len(data))
        if not part:
            raise ConnectionError("The client left.")
        data += part
    return data


@contextmanager
def transaction_pooler(url, *, size=3):
    """Run a pooler for the server with this URL."""
    pooler = TransactionPooler(url, size=size)
    try:
        yield pooler
    finally:
        pooler.close()
