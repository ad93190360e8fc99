"""Which URLs agents may register. The table of addresses is in tests/events/channels/test_addresses.py."""

import ipaddress

import pytest

from workspaces.access.agent_urls import MAX_URL_CHARACTERS, ForbiddenUrl, check_agent_url


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/",
        "https://8.8.8.8:8443/agent?x=1",
        "http://[2606:4700::1111]/",
        "http://localhost",
        "http://localhost:4000/",
        "http://LOCALHOST./",
    ],
)
def test_a_public_address_and_localhost_by_name_are_allowed(url):
    check_agent_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "begin with http"),
        ("localhost:80", "begin with http"),
        ("ftp://localhost/", "begin with http"),
        ("http://", "begin with http"),
        ("http://local host/", "white space"),
        ("http://localhost/\n", "white space"),
        ("http://localhost/" + "x" * MAX_URL_CHARACTERS, "longer than"),
        ("http://localhost:99999/", "can't be parsed"),
        ("http://[::1/", "can't be parsed"),
        ("http://user:pw@localhost/", "user name or password"),
        ("http://@8.8.8.8/", "user name or password"),
        ("http://8.8.8.8\\@127.0.0.1/", "user name or password"),
        ("http://127.0.0.1/", "not a public address"),
        ("http://[64:ff9b::a9fe:a9fe]/", "not a public address"),
        ("http://[2002:7f00:1::]/", "not a public address"),
        ("http://[fec0::1]/", "not a public address"),
        ("http://[::127.0.0.1]/", "not a public address"),
        ("http://[::ffff:0:127.0.0.1]/", "not a public address"),
        ("http://2130706433/", "not a public address"),
        ("http://127.0.0.1./", "not a public address"),
        ("http://[fe80::1%25eth0]/", "not a host"),
        ("http://%31%32%37.0.0.1/", "not a host"),
        ("http://[::1]/", "not a public address"),
        ("http://10.0.0.7/", "AGENT_URL_ALLOW_PRIVATE"),
        ("http://does-not-exist.invalid/", "can't be resolved"),
    ],
)
def test_any_other_url_is_refused_with_the_reason(url, reason):
    with pytest.raises(ForbiddenUrl, match=reason):
        check_agent_url(url)


def test_a_private_network_is_allowed_by_the_deployment(settings):
    settings.AGENT_URL_ALLOW_PRIVATE = [ipaddress.ip_network("10.0.0.0/8")]
    check_agent_url("http://10.0.0.7/")
