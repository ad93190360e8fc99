"""A workspace's requests to the platform go past the company's proxy."""

import sys

import pytest

from tests.events.channels.receivers import receiving
from tests.waiting import wait_until
from workspaces.provisioners.proxies import without_proxy_to_platform

PROXIES = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"]
CLIENTS = {
    "urllib": "import urllib.request as r; r.urlopen(r.Request(url, data=b'{}', headers=headers))",
    "requests": "import requests; requests.post(url, data=b'{}', headers=headers)",
    "httpx": "import httpx; httpx.post(url, content=b'{}', headers=headers)",
}


def heartbeat(client):
    """Return a command that posts one heartbeat with its token, as an existing runtime does."""
    send = (
        "import os; url = os.environ['PLATFORM_URL'] + '/registry/heartbeat'; "
        f"headers = {{'Authorization': 'Bearer ' + os.environ['WORKSPACE_TOKEN']}}; {CLIENTS[client]}"
    )
    return f'exec {sys.executable} -c "{send}"'


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("source", ["the platform's own environment", "a secret", "both, with exceptions"])
def test_a_heartbeat_goes_past_the_proxy(world, client, source):
    with receiving() as platform, receiving() as proxy:
        proxies = dict.fromkeys(PROXIES, proxy.url.removesuffix("/hook"))
        secrets = {}
        if source == "a secret":
            secrets = proxies
        elif source == "the platform's own environment":
            world.inherited = {**world.inherited, **proxies}
        else:
            world.inherited = {**world.inherited, **proxies, "NO_PROXY": "internal.example.com"}
            secrets = {"no_proxy": "other.example.com"}
        url = platform.url.removesuffix("/hook")
        world.started(heartbeat(client), PLATFORM_URL=url, WORKSPACE_TOKEN="the-token", **secrets)
        wait_until(lambda: platform.received)
        assert platform.received[0].headers["authorization"] == "Bearer the-token"
        assert proxy.received == []


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("http://slipway.example.com:8000", {}, "slipway.example.com"),
        ("https://10.1.2.3", {"NO_PROXY": "a, b"}, "a,b,10.1.2.3"),
        ("https://10.1.2.3", {"no_proxy": "a,10.1.2.3"}, "a,10.1.2.3"),
        ("https://10.1.2.3", {"NO_PROXY": "*"}, "*"),
        ("http://[fd00::1]:8000", {"NO_PROXY": "a"}, "a,fd00::1,[fd00::1]"),
        ("http://Platform.Example.com", {"NO_PROXY": ""}, "platform.example.com"),
    ],
)
def test_the_platform_s_host_is_added_to_both_spellings(url, given, expected):
    changed = without_proxy_to_platform({"PLATFORM_URL": url, **given})
    assert (changed["NO_PROXY"], changed["no_proxy"]) == (expected, expected)


def test_each_spelling_keeps_its_own_exceptions():
    given = {"PLATFORM_URL": "http://h", "NO_PROXY": "a", "no_proxy": "b"}
    changed = without_proxy_to_platform(given)
    assert (changed["NO_PROXY"], changed["no_proxy"]) == ("a,h", "b,h")
