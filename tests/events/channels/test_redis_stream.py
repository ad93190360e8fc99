"""Redis streams against a real Redis."""

import ipaddress
import json
import socket
import socketserver
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings

from events.channels.base import SendFailed
from tests.certificates import self_signed
from tests.events.channels.factories import form_errors, message, sending
from tests.serving import serving

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(loopback_allowed):
    name = f"{django_settings.REDIS_PREFIX}stream-{uuid4()}"
    with redis.Redis.from_url(django_settings.REDIS_URL, decode_responses=True) as client:
        yield client, name
        client.delete(name)


def redis_options(name, **more):
    return {"url": django_settings.REDIS_URL, "stream": name, "max_length": 100, **more}


def test_an_entry_has_its_position_as_id_and_is_added_once(stream):
    client, name = stream
    first, second = message(5), message(6)
    with sending("redis_stream", redis_options(name)) as sender:
        for each in (first, second, second, first):
            sender.send([each])
    entries = client.xrange(name)
    assert [place for place, _ in entries] == ["5-0", "6-0"]
    fields = entries[0][1]
    assert (fields["id"], fields["event"], fields["position"]) == ("500", "WORKSPACE_ONLINE", "5")
    assert json.loads(fields["data"])["position"] == 5


def test_a_late_entry_is_appended_with_its_own_position(stream):
    client, name = stream
    with sending("redis_stream", redis_options(name)) as sender:
        for position in (4, 6, 5, 7):
            sender.send([message(position)])
    entries = client.xrange(name)
    assert [place for place, _ in entries] == ["4-0", "6-0", "6-1", "7-0"]
    assert [fields["position"] for _, fields in entries] == ["4", "6", "5", "7"]


def test_test_messages_are_added_without_blocking_events(stream):
    client, name = stream
    tests = [replace(message(0), id=f"test-{number}") for number in (1, 2, 3)]
    with sending("redis_stream", redis_options(name)) as sender:
        for each in (tests[0], tests[1], message(3), tests[2], message(4)):
            sender.send([each])
    places = {fields["id"]: place for place, fields in client.xrange(name)}
    assert places == {"test-1": "0-1", "test-2": "0-2", "300": "3-0", "test-3": "3-1", "400": "4-0"}


def test_the_stream_is_trimmed(stream):
    client, name = stream
    with sending("redis_stream", redis_options(name)) as sender:
        for position in range(1, 601):
            sender.send([message(position)])
    assert 100 <= client.xlen(name) < 400


def test_an_unreachable_redis_is_a_temporary_failure(loopback_allowed):
    options = redis_options("x", url="redis://127.0.0.1:1/0")
    with sending("redis_stream", options) as sender, pytest.raises(SendFailed) as failed:
        sender.send([message()])
    assert not failed.value.is_permanent


@contextmanager
def tls_in_front_of(url, certificate):
    """Listen with TLS on a port of 127.0.0.1 and pass everything on to the Redis of this URL. Give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    address = urlsplit(url)

    class Passing(socketserver.BaseRequestHandler):
        def handle(self):
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.create_connection((address.hostname, address.port)) as server,
            ):
                threading.Thread(target=copy, args=(server, client), daemon=True).start()
                copy(client, server)

    def copy(source, target):
        with suppress(OSError):
            while received := source.recv(65_536):
                target.sendall(received)
            target.shutdown(socket.SHUT_RDWR)

    listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Passing)
    listener.daemon_threads = True
    with serving(listener):
        yield listener.server_address[1]


def test_rediss_connects_with_tls_and_checks_the_certificate_against_the_name(stream, tmp_path, monkeypatch):
    client, name = stream
    certificate = self_signed(tmp_path / "certificate.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_in_front_of(django_settings.REDIS_URL, certificate) as port:
        parts = urlsplit(django_settings.REDIS_URL)
        login = parts.netloc.rpartition("@")[0]
        right = parts._replace(scheme="rediss", netloc=f"{login}@127.0.0.1:{port}").geturl()
        with sending("redis_stream", redis_options(name, url=right)) as sender:
            sender.send([message(5)])
        assert client.xlen(name) == 1
        other_name = redis_options(name, url=right.replace("127.0.0.1", "localhost"))
        with sending("redis_stream", other_name) as sender, pytest.raises(SendFailed, match="ertificate"):
            sender.send([message(6)])
    assert client.xlen(name) == 1


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_the_connection_uses_the_checked_address_even_if_the_name_resolves_to_another_one_later(
    scheme, monkeypatch, settings
):
    """The name server answers with an allowed address first, and with a private one next."""
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network("127.0.0.2/32")]
    answers = iter(["127.0.0.2"])
    real = socket.getaddrinfo

    def rebinding(host, port, *arguments, **keywords):
        return real(next(answers, "127.0.0.1") if host == "rebind.example.com" else host, port, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with socket.create_server(("127.0.0.1", 0)) as private:
        private.settimeout(0.2)
        options = redis_options("x", url=f"{scheme}://rebind.example.com:{private.getsockname()[1]}/0")
        with sending("redis_stream", options) as sender, pytest.raises(SendFailed):
            sender.send([message()])
        with pytest.raises(TimeoutError):
            private.accept()


def test_a_redis_on_a_private_address_is_refused():
    with pytest.raises(SendFailed, match="not a public address"), sending("redis_stream", redis_options("x")):
        pass


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"url": "http://8.8.8.8"}, "url"),
        ({"url": "redis://"}, "url"),
        ({"url": "redis://127.0.0.1:6379/0"}, "url"),
        ({"url": "rediss://127.0.0.1:6379/0"}, "url"),
        ({"url": "redis://[::ffff:0:127.0.0.1]:6379/0"}, "url"),
        ({"url": "redis://8.8.8.8/0?host=127.0.0.1"}, "url"),
        ({"url": "rediss://8.8.8.8/0?ssl_keyfile=/etc/passwd"}, "url"),
        ({"url": "rediss://8.8.8.8/0?ssl_ca_certs=/etc/passwd"}, "url"),
        ({"url": "redis://8.8.8.8/0?path=/run/redis.sock"}, "url"),
        ({"url": "redis://%31%32%37.0.0.1/0"}, "url"),
        ({"url": "unix:///run/redis.sock"}, "url"),
        ({"url": "redis://[::1"}, "url"),
        ({"url": "redis://8.8.8.8", "stream": "a b"}, "stream"),
        ({"url": "redis://8.8.8.8", "max_length": "5"}, "max_length"),
    ],
)
def test_the_form_names_what_is_wrong(data, field):
    assert form_errors("redis_stream", **{"stream": "s", "max_length": "1000", **data})[field]
