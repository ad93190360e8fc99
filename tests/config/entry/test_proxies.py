"""Only trusted proxies say where a request comes from, over which scheme, and below which prefix."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network

import pytest

from config.entry.proxies import UNKNOWN, client_address
from workspaces.access.api_keys import mint_api_key

INTERFACES = ["asgi", "wsgi"]
PROXIES = [ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "expected"),
    [
        (0, "10.0.0.1", "10.9.9.9", "10.0.0.1"),
        (1, "10.0.0.1", "10.9.9.9", "10.9.9.9"),
        (1, "10.0.0.1", "6.6.6.6, 10.9.9.9", "10.9.9.9"),
        (2, "10.0.0.1", "6.6.6.6, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        (2, "10.0.0.1", "10.9.9.9", "10.9.9.9"),
        (2, "10.0.0.1", "6.6.6.6, unknown, 10.9.9.9", UNKNOWN),
        (1, "10.0.0.1", None, "10.0.0.1"),
        # What WSGI makes of a header with a byte that is not ASCII.
        (1, "10.0.0.1", "", UNKNOWN),
        (PROXIES, "10.0.0.1", "", UNKNOWN),
        # A Unix socket has no address.
        (1, "", "203.0.113.9", "203.0.113.9"),
        (1, "10.0.0.1", "203.0.113.9:51514", "203.0.113.9"),
        (1, "10.0.0.1", "198.51.100.1, [2001:db8::1]:51514", "2001:db8::1"),
        (1, "10.0.0.1", "2001:db8::1", "2001:db8::1"),
        (1, "10.0.0.1", "unknown", UNKNOWN),
        (1, "10.0.0.1", "x:y", UNKNOWN),
        (1, "10.0.0.1", "a" * 10_000, UNKNOWN),
        (PROXIES, "10.0.0.1", "198.51.100.1", "198.51.100.1"),
        (PROXIES, "::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        (PROXIES, "127.0.0.1", "6.6.6.6, 198.51.100.1, fd00::7, 10.2.3.4:80", "198.51.100.1"),
        (PROXIES, "10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        (PROXIES, "198.51.100.1", "6.6.6.6", "198.51.100.1"),
        (PROXIES, "", "6.6.6.6", ""),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(settings, trusted, peer, forwarded, expected):
    settings.TRUSTED_PROXIES = trusted
    assert client_address(peer, forwarded) == expected


def guess(client, forwarded, *, times=60):
    def send(number):
        headers = {"Authorization": f"Bearer {number}", "X-Forwarded-For": forwarded}
        return client.get("/workspaces", headers=headers).status_code

    with ThreadPoolExecutor(20) as pool:
        return set(pool.map(send, range(times)))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
def test_a_header_that_can_not_be_read_makes_nobody_the_proxy(serve_web, interface):
    _, key = mint_api_key(name="script", scopes=["read"], networks=["127.0.0.1"])
    client = serve_web(interface, TRUSTED_PROXIES="127.0.0.1", HTTPS="false")
    bearer = [(b"Authorization", f"Bearer {key}".encode())]
    assert client.get("/workspaces", headers=bearer).status_code == 200
    for forwarded in (b"\xff", b"\xff, 198.51.100.1", b"unknown"):
        answer = client.get("/workspaces", headers=[*bearer, (b"X-Forwarded-For", forwarded)])
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_address"), forwarded


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
def test_guesses_count_for_the_address_behind_the_proxy_and_not_for_what_it_claims(serve_web, interface):
    client = serve_web(interface, TRUSTED_PROXIES="127.0.0.1", HTTPS="false")
    for number in range(60):
        assert guess(client, f"203.0.113.{number}", times=1) == {401}
    for number in range(60):
        guess(client, f"6.6.6.{number}, 198.51.100.1", times=1)
    # However slow the guesses were, there were too many to let this address sign in. 403 is for the missing CSRF token.
    answers = {
        forwarded: client.post("/admin/login/", headers={"X-Forwarded-For": forwarded}).status_code
        for forwarded in ("6.6.6.99, 198.51.100.1", "203.0.113.7", "6.6.6.6")
    }
    assert list(answers.values()) == [429, 403, 403], answers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(("trusted", "status"), [("1", 200), ("127.0.0.1,10.0.0.0/8", 200), ("10.0.0.0/8", 301)])
def test_only_a_trusted_proxy_says_that_the_client_came_over_https(serve_web, interface, trusted, status):
    client = serve_web(interface, TRUSTED_PROXIES=trusted)
    assert client.get("/admin/login/", headers={"X-Forwarded-Proto": "https"}).status_code == status
