"""Bodies are bounded in size and time before anything else is known of a request."""

import socket
import time

import pytest

from config.entry import bodies

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
            # Granian closes the connection of a body that was not read to its end.
            refused = client.post(path, content=content, headers={"Connection": "close"})
            assert (refused.status_code, refused.json()["code"]) == (413, "too_large"), path
        assert client.post(path, content=b"x" * (limit * 9 // 10)).status_code not in {408, 413, 500}, path
    assert client.get("/health").status_code == 200


def idle_upload(client, path, *, sent=b"x"):
    """Announce a body, send a little of it, and wait."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


@pytest.mark.parametrize("path", ["/health", "/registry/heartbeat"])
def test_idle_uploads_keep_nobody_waiting_and_are_ended(serve_web, path):
    client = serve_web("asgi")
    uploads = [idle_upload(client, path) for _ in range(8)]
    began = time.monotonic()
    assert client.get("/health").status_code == 200
    assert time.monotonic() - began < bodies.BODY_SECONDS / 2
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
