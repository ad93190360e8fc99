"""Bodies are bounded in size and time before anything else is known of a request."""

import json
import select
import socket
import threading
import time
from contextlib import closing
from http.client import HTTPConnection

import pytest

from config.entry import bodies, guesses, wsgi
from config.entry.wsgi import WsgiEntry
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
INTERFACES = ["asgi", "wsgi"]
MEBIBYTE = 1_048_576
LIMITS = {
    "/health": MEBIBYTE,
    "/registry/heartbeat": MEBIBYTE,
    "/nonsense": MEBIBYTE,
    "/registry/failed": 8 * MEBIBYTE,
    "/admin/workspaces/x/bootstrap-failed": 8 * MEBIBYTE,
    "/admin/login/": 65_536,
    "/admin/workspaces/workspace/": 9 * MEBIBYTE,
}


def chunks(total):
    """A body without a Content-Length."""
    for _ in range(total // 65_536):
        yield b"x" * 65_536


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_body_is_refused_beyond_its_limit_and_read_up_to_it(serve_web, interface):
    client = serve_web(interface)
    for path, limit in LIMITS.items():
        for content in (b"x" * (limit + 1), chunks(limit + 65_536), chunks(20 * MEBIBYTE)):
            refused = client.post(path, content=content)
            assert (refused.status_code, refused.json()["code"]) == (413, "too_large"), path
            assert refused.json()["error"] == f"The body is larger than {limit // 1024} KiB.", path
        assert client.post(path, content=b"x" * (limit * 9 // 10)).status_code not in {408, 413, 500}, path
    assert client.get("/health").status_code == 200


def answer_to(headers, client):
    """Send the head of a request whose body never comes; return the status and what becomes of the connection."""
    connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=PATIENCE_SECONDS)
    with closing(connection):
        connection.putrequest("POST", "/registry/heartbeat")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.getheader("Connection")


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(("status", "length"), [(413, 20 * MEBIBYTE), (429, 2)])
def test_a_refusal_that_leaves_the_body_unread_tells_that_it_ends_the_connection(serve_web, interface, status, length):
    client = serve_web(interface, AGENT_CALLS_PER_MINUTE="1" if status == 429 else "0")
    assert client.post("/registry/heartbeat", headers={"Authorization": "Bearer wrong"}).status_code == 401
    headers = {"Authorization": "Bearer wrong", "Content-Length": str(length)}
    assert answer_to(headers, client) == (status, "close")


def idle_upload(client, path, *, sent=b"x"):
    """Announce a body, send a little of it, and wait."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=PATIENCE_SECONDS)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


@pytest.mark.parametrize("path", ["/health", "/registry/heartbeat"])
def test_idle_uploads_keep_nobody_waiting_and_are_ended(serve_web, path):
    client = serve_web("asgi")
    uploads = [idle_upload(client, path) for _ in range(8)]
    assert client.get("/health").status_code == 200
    # It did not wait until the uploads were ended.
    assert select.select(uploads, [], [], 0)[0] == []
    for upload in uploads:
        assert b" 408 " in upload.recv(100)
        upload.close()
    assert client.get("/health").status_code == 200


def test_sign_ins_that_never_arrive_lock_nobody_out(serve_web):
    client = serve_web("asgi")
    uploads = [idle_upload(client, "/admin/login/") for _ in range(8)]
    time.sleep(1)
    # Without the form's CSRF token, so Django refuses it; what counts is that it gets that far.
    answers = [client.post("/admin/login/", data={"username": "ann", "password": "x"}).status_code for _ in range(3)]
    assert answers == [403] * 3
    for upload in uploads:
        upload.close()


class Upload:
    """A body that arrives only when the test says so."""

    def __init__(self):
        self.is_gone = threading.Event()
        self.has_arrived = threading.Event()

    def read(self, _size):
        assert self.has_arrived.wait(2 * PATIENCE_SECONDS)
        if self.is_gone.is_set():
            raise OSError("The client has left.")
        return b"{}"


@pytest.fixture
def entry(monkeypatch):
    """A WsgiEntry with few readers, which waits a moment for a body and then for long."""
    monkeypatch.setattr(wsgi, "_MOMENT_SECONDS", 0.05)
    monkeypatch.setattr(bodies, "BODY_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(wsgi, "_MOST_READERS", 8)

    def application(environ, start_response):
        start_response("401 Unauthorized", [])
        return [environ["wsgi.input"].read()]

    return WsgiEntry(application)


@pytest.fixture
def send(entry):
    """Send a body to the entry; return the status and the answer."""
    uploads = []

    def send(upload, **variables):
        uploads.append(upload)
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/workspaces", "CONTENT_LENGTH": "2", "wsgi.input": upload}
        statuses = []
        answer = b"".join(entry({**environ, **variables}, lambda status, _headers: statuses.append(int(status[:3]))))
        return statuses[0], json.loads(answer)

    yield send
    for upload in uploads:
        upload.has_arrived.set()


def test_a_refused_upload_says_how_long_was_waited(entry, send, monkeypatch):
    monkeypatch.setattr(wsgi, "_MOMENT_SECONDS", 1.0)
    uploads = [Upload(), Upload()]
    slow = [threading.Thread(target=send, args=[upload]) for upload in uploads]
    for thread in slow:
        thread.start()
    wait_until(lambda: entry._slow_bodies._value == 0)
    status, answer = send(Upload())
    assert (status, answer["error"]) == (408, "The body did not arrive within 1 second.")
    for upload, thread in zip(uploads, slow, strict=True):
        upload.has_arrived.set()
        thread.join()
    monkeypatch.setattr(bodies, "BODY_SECONDS", 3.0)
    status, answer = send(Upload())
    assert (status, answer["error"]) == (408, "The body did not arrive within 3 seconds.")


def test_few_threads_wait_for_uploads_that_stand_still(send, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    before, uploads = set(threading.enumerate()), [Upload() for _ in range(20)]
    assert [send(upload)[0] for upload in uploads] == [408] * 8 + [503] * 12
    assert len(set(threading.enumerate()) - before) == 8
    arrived = Upload()
    arrived.has_arrived.set()
    assert send(arrived)[0] == 503
    uploads[0].has_arrived.set()
    wait_until(lambda: send(arrived) == (401, {}))


def test_a_thread_that_read_a_body_reads_the_next_one_whatever_happened(entry, send):
    def panic(_size):
        raise GeneratorExit

    before, bad = set(threading.enumerate()), Upload()
    bad.read = panic
    for number in range(20):
        arrived = Upload()
        arrived.has_arrived.set()
        assert send(bad if number % 2 else arrived)[0] == (400 if number % 2 else 401)
        wait_until(lambda: entry._readers._idle._value == 1)
    assert len(set(threading.enumerate()) - before) == 1


def test_a_process_that_can_have_no_more_threads_answers_503_and_reads_bodies_later(send, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    arrived = Upload()
    arrived.has_arrived.set()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert {send(arrived)[0] for _ in range(20)} == {503}
    assert send(arrived)[0] == 401


def test_an_upload_whose_client_left_is_not_called_slow(send, recwarn):
    upload = Upload()
    upload.is_gone.set()
    upload.has_arrived.set()
    status, answer = send(upload)
    assert (status, answer["code"]) == (400, "bad_request")
    assert not recwarn.list


def test_a_guessing_address_is_refused_before_its_uploads_are_waited_for(send, monkeypatch):
    monkeypatch.setattr(guesses, "CHECKS_PER_SECOND", 0.0)
    monkeypatch.setattr(guesses, "FORGIVEN_SECONDS", 1e9)
    arrived = Upload()
    arrived.has_arrived.set()
    guessed = [send(arrived, HTTP_AUTHORIZATION=f"Bearer {number}")[0] for number in range(2 * guesses.MOST_FAILURES)]
    assert set(guessed) == {401, 429}
    assert send(Upload(), HTTP_AUTHORIZATION="Bearer x")[0] == 429
