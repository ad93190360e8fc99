"""The client over TLS: only a platform with a trusted certificate gets a request."""

import socket
import ssl
import threading

import pytest

from agent.client import Address, Unreachable, post
from tests.certificates import self_signed


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path / "certificate.pem")


@pytest.fixture
def platform(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_answer_once, args=(context, listener))
    thread.start()
    yield Address(True, "127.0.0.1", listener.getsockname()[1], "")
    thread.join()


def _answer_once(context, listener):
    with listener, listener.accept()[0] as connection:
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(65_536)
                secured.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}')
        except OSError:
            # The client did not trust the certificate.
            return


def test_a_response_of_a_trusted_platform_is_read(platform, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert post(platform, "/x", {}, token="t") == (200, {"a": 1})


def test_a_platform_with_an_untrusted_certificate_gets_no_token(platform):
    with pytest.raises(Unreachable, match="certificate verify failed"):
        post(platform, "/x", {}, token="t")
