"""A baseline that only copies bytes from a Postgres NOTIFY to sockets: `python -m bench.fanout.bare_stream PORT`."""

import os
import selectors
import socket
import sys

import psycopg

CHANNEL = "bench_bytes"
_OPENING = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: stream opened\n\n"


def main(port: int) -> None:
    server = socket.create_server(("127.0.0.1", port), backlog=2048)
    clients: list[socket.socket] = []
    with (
        psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection,
        selectors.EpollSelector() as selector,
    ):
        connection.execute(f"LISTEN {CHANNEL}")
        selector.register(server, selectors.EVENT_READ)
        selector.register(connection.fileno(), selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is server:
                    clients.append(_accept(server))
                else:
                    _forward(connection, clients)


def _accept(server: socket.socket) -> socket.socket:
    client = server.accept()[0]
    client.recv(65_536)
    client.sendall(_OPENING)
    client.setblocking(False)
    return client


def _forward(connection: "psycopg.Connection[tuple[object, ...]]", clients: list[socket.socket]) -> None:
    for notification in connection.notifies(timeout=0):
        data = notification.payload.encode()
        for client in list(clients):
            try:
                client.send(data)
            except OSError:
                clients.remove(client)


if __name__ == "__main__":
    main(int(sys.argv[1]))
