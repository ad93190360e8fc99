"""A client that does not read is cut off, may resume, and does not slow down others."""

import re
import socket
import threading

import pytest
from django.db import connection

from events import relay
from tests.events.conftest import WORD
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

# More than the sockets' and the server's buffers hold: 600 events of 32 KiB.
_LAST_CHUNK = b"0\r\n\r\n"
_MANY, _STEP, _LARGE = 600, 50, 32 * 1024


def _publish_large(count):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject) "
            "SELECT 'WORKSPACE_ONLINE', gen_random_uuid(), 1, false, jsonb_build_object('text', repeat('x', %s)), '{}' "
            "FROM generate_series(1, %s)",
            [_LARGE, count],
        )
    relay.number_all()


@pytest.fixture
def server(serve):
    """A server with a small queue for each client."""
    return serve(QUEUE_BYTES=str(100 * _LARGE))


@pytest.fixture
def stalled(server):
    """A client that opens the stream and reads only its first lines."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_SECONDS)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Word: sesame\r\n\r\n")
        received = b""
        while b": stream opened" not in received:
            received += client.recv(512)
        yield client


@pytest.fixture
def reader(server):
    """Another client that reads in a thread: join it, then read `seen`."""
    thread = threading.Thread(target=_read, args=(server,), daemon=True)
    thread.seen, thread.is_listening = [], threading.Event()
    thread.start()
    assert thread.is_listening.wait(PATIENCE_SECONDS)
    return thread


def _read(server):
    reader = threading.current_thread()
    with server.stream() as stream:
        reader.is_listening.set()
        for position in stream.each_position(_MANY):
            reader.seen.append(position)


def _publish_until_cut_off(server, reader):
    for published in range(_STEP, _MANY + 1, _STEP):
        _publish_large(_STEP)
        # As fast as the other client reads.
        wait_until(lambda published=published: len(reader.seen) == published)
    reader.join(PATIENCE_SECONDS)
    wait_until(lambda: "A live client was too slow" in server.log.read_text())


def _read_to_the_end(client):
    received = b""
    while not received.endswith(_LAST_CHUNK):
        received += client.recv(1 << 20)
    return received


def test_a_client_that_does_not_read_is_cut_off_and_the_others_miss_nothing(server, stalled, reader):
    _publish_until_cut_off(server, reader)
    assert reader.seen == list(range(1, _MANY + 1))
    received = _read_to_the_end(stalled)
    assert b": You read too slowly. Connect again from your last position.\n\n" in received[-200:]


def test_a_client_that_was_cut_off_resumes_where_it_stood(server, stalled, reader):
    _publish_until_cut_off(server, reader)
    whole = _whole_messages(_read_to_the_end(stalled))
    assert whole == list(range(1, len(whole) + 1))
    assert 0 < len(whole) < _MANY
    with server.stream(headers={**WORD, "Last-Event-ID": str(whole[-1])}) as stream:
        assert list(stream.each_position(_MANY - len(whole))) == list(range(len(whole) + 1, _MANY + 1))


def _whole_messages(body):
    # Chunk sizes have lines of their own, with line ends that no event contains.
    text = re.sub(rb"\r\n[0-9a-fA-F]+\r\n", b"", body)
    return [int(number) for number in re.findall(rb"id: (\d+)\ndata: [^\n]*\n\n", text)]
