"""Webhooks and chats behind a company's proxy, with a real proxy between them and a real receiver."""

import base64
import socket

import pytest

from events.channels.base import SendFailed
from events.channels.network.addresses import Unresolved
from events.channels.network.outbound_proxy import judge_target
from events.channels.webhook import signing
from tests.events.channels.factories import failure, form_errors, sending
from tests.events.channels.forward_proxy import forward_proxy
from tests.events.channels.receivers import Answer, receiving

pytestmark = pytest.mark.django_db

NAME = "hooks.example.com"
LOGIN = "Basic " + base64.b64encode(b"user:pass@word").decode()
ENVIRONMENT = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]


@pytest.fixture(params=["looked up here", "unknown here"])
def public_name(request, monkeypatch):
    """Let the name of the receiver be public, or one that only the proxy can look up."""
    real = socket.getaddrinfo

    def look_up(host, port, *arguments, **keywords):
        if host != NAME:
            return real(host, port, *arguments, **keywords)
        if request.param == "unknown here":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("93.184.215.14", port, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture(params=["webhook", "chat"])
def kind(request):
    return request.param


def options(kind, url):
    if kind == "webhook":
        return {"url": f"{url}/hook", "headers": {}, **signing.initial_options()}
    scheme, _, rest = url.partition("://")
    return {"url": f"{'mmosts' if scheme == 'https' else 'mmost'}://{rest}/3ccdd113474722377935511fc85d3dd4"}


def test_a_message_goes_through_the_proxy_with_its_login(kind, public_name, settings):
    with receiving() as receiver, forward_proxy(receiver.server_address[1]) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        with sending(kind, options(kind, f"http://{NAME}:8080")) as sender:
            sender.send([failure()])
        ((method, target, login),) = proxy.asked
        assert (method, login) == ("POST", LOGIN)
        assert target.startswith(f"http://{NAME}:8080/hook")
        assert len(receiver.received) == 1


def test_https_is_tunnelled_and_a_refusal_of_the_proxy_is_a_temporary_failure(kind, public_name, settings):
    with forward_proxy(None) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        with sending(kind, options(kind, f"https://{NAME}")) as sender, pytest.raises(SendFailed) as failed:
            sender.send([failure()])
        assert proxy.asked[0] == ("CONNECT", f"{NAME}:443", LOGIN)
        assert not failed.value.is_permanent
        for secret in ("pass%40word", "pass@word", LOGIN.removeprefix("Basic ")):
            assert secret not in str(failed.value)


def test_proxies_of_the_environment_are_not_used(kind, loopback_allowed, monkeypatch):
    with receiving() as receiver, forward_proxy(receiver.server_address[1]) as proxy:
        for name in ENVIRONMENT:
            monkeypatch.setenv(name, proxy.url)
        with sending(kind, options(kind, receiver.url.removesuffix("/hook"))) as sender:
            sender.send([failure()])
        assert proxy.asked == []
        assert len(receiver.received) == 1


def test_receivers_in_allowed_private_networks_are_reached_directly(kind, loopback_allowed, settings):
    with receiving() as receiver, forward_proxy(receiver.server_address[1]) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        with sending(kind, options(kind, receiver.url.removesuffix("/hook"))) as sender:
            sender.send([failure()])
        assert proxy.asked == []
        assert len(receiver.received) == 1


FORBIDDEN = [
    *("127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:0:127.0.0.1]", "[fd00::1]", "0177.0.0.1"),
    *("localhost", "intranet", "wiki.corp", "metadata.google.internal", "printer.local", "a.localhost"),
]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_the_proxy_is_asked_for_no_private_target(kind, host, settings):
    with receiving() as receiver, forward_proxy(receiver.server_address[1]) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        with pytest.raises(SendFailed) as failed, sending(kind, options(kind, f"http://{host}:8080")) as sender:
            sender.send([failure()])
        assert failed.value.is_permanent
        assert (proxy.asked, receiver.received) == ([], [])
        if kind == "webhook":
            assert form_errors(kind, url=f"http://{host}:8080/hook")["url"]


@pytest.mark.parametrize("place", ["http://10.1.2.3/", "http://localhost:8080/", "the proxy itself"])
def test_a_redirect_to_a_private_target_is_not_followed_through_the_proxy(public_name, settings, place):
    with receiving() as receiver, forward_proxy(receiver.server_address[1]) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        location = proxy.url.replace("user:pass%40word@", "") if place == "the proxy itself" else place
        receiver.answer = lambda request: Answer(307, {"Location": location})
        with sending("chat", options("chat", f"http://{NAME}:8080")) as sender, pytest.raises(SendFailed):
            sender.send([failure()])
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "hooks.example.invalid"])
def test_a_name_that_nobody_can_look_up_is_unresolved_without_a_proxy(host, settings):
    with pytest.raises(Unresolved):
        judge_target(host, 443)
    settings.OUTBOUND_PROXY = "http://127.0.0.1:3128"
    assert judge_target(host, 443)
