"""The small HTTP client, against valid and broken responses."""

import socket
import threading
import time

import pytest

from agent import client
from agent.client import Address, Unreachable, address_of, post


@pytest.fixture
def serve():
    """Answer one request with the given bytes, piece by piece."""
    threads = []

    def start(*pieces, pause=0.0):
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=_answer_once, args=(listener, pieces, pause))
        thread.start()
        threads.append(thread)
        return Address(False, "127.0.0.1", listener.getsockname()[1], "")

    yield start
    for thread in threads:
        thread.join()


def _answer_once(listener, pieces, pause):
    with listener, listener.accept()[0] as connection:
        connection.recv(65_536)
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                return
            time.sleep(pause)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost", Address(False, "localhost", 80, "")),
        ("http://127.0.0.1:8000/", Address(False, "127.0.0.1", 8000, "")),
        ("https://slipway.example/base/", Address(True, "slipway.example", 443, "/base")),
        ("HTTPS://h:1", Address(True, "h", 1, "")),
        ("http://[::1]:8000/x", Address(False, "::1", 8000, "/x")),
        ("http://[::1]", Address(False, "::1", 80, "")),
    ],
)
def test_an_address_is_read_from_its_url(url, address):
    assert address_of(url) == address


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://x:port"])
def test_other_texts_are_refused_as_addresses(url):
    with pytest.raises(ValueError, match=r".+"):
        address_of(url)


@pytest.mark.parametrize(
    "pieces",
    [
        [b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'],
        [b"HTTP/1.1 200 OK\r\ncontent-len", b'gth: 7\r\n\r\n{"a"', b":1}"],
        [b'HTTP/1.0 200 OK\r\n\r\n{"a":1}'],
        [b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\n\r\n'],
    ],
)
def test_a_response_is_read_with_any_framing(serve, pieces):
    assert post(serve(*pieces), "/x", {}, token="t") == (200, {"a": 1})


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b'"text"'])
def test_a_body_that_is_not_an_object_has_no_fields(serve, body):
    assert post(serve(b"HTTP/1.1 502 Bad\r\n\r\n" + body), "/x", {}, token="t") == (502, {})


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([b""], "not HTTP"),
        ([b"SSH-2.0-OpenSSH\r\n"], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], "invalid literal"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000], "too long"),
    ],
)
def test_an_invalid_response_counts_as_unreachable(serve, pieces, reason):
    with pytest.raises(Unreachable, match=reason):
        post(serve(*pieces), "/x", {}, token="t")


def test_a_response_that_trickles_in_runs_into_the_timeout(serve, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.3)
    # Each piece comes in time. After the last one, a minute later, the answer is known not to be HTTP.
    address = serve(*[b"x"] * 600, pause=0.1)
    with pytest.raises(Unreachable, match="timed out"):
        post(address, "/x", {}, token="t")
