"""Which addresses channels may connect to and agents may register: one table for both."""

import ipaddress
import socket

import pytest
from urllib3.util import connection

from events.channels.network.addresses import ForbiddenAddress, Purpose, Unresolved, is_allowed, resolve_allowed
from events.channels.network.guarded_sockets import guarded_sockets

# (address, channels may connect to it, agents may register it), with no private network allowed
WITHOUT_PRIVATE_NETWORKS = [
    ("8.8.8.8", True, True),
    ("2606:4700::1111", True, True),
    # Loopback, private and shared networks
    ("127.0.0.1", False, False),
    ("::1", False, False),
    ("0.0.0.0", False, False),  # noqa: S104
    ("::", False, False),
    ("10.1.2.3", False, False),
    ("172.16.0.1", False, False),
    ("192.168.1.1", False, False),
    ("fd00::1", False, False),
    ("100.64.0.1", False, False),
    # Link-local, with the metadata services of clouds
    ("169.254.169.254", False, False),
    ("fe80::1", False, False),
    ("fd00:ec2::254", False, False),
    # Documentation, multicast, broadcast
    ("192.0.2.1", False, False),
    ("198.51.100.1", False, False),
    ("203.0.113.1", False, False),
    ("2001:db8::1", False, False),
    ("3fff::1", False, False),
    ("224.0.0.1", False, False),
    ("ff02::1", False, False),
    ("255.255.255.255", False, False),
    # IPv6 addresses that stand for an IPv4 address: mapped, 6to4, NAT64
    ("::ffff:8.8.8.8", True, True),
    ("::ffff:127.0.0.1", False, False),
    ("::ffff:169.254.169.254", False, False),
    ("::ffff:100.64.0.1", False, False),
    ("2002:808:808::", True, True),
    ("2002:7f00:1::", False, False),
    ("64:ff9b::808:808", True, True),
    ("64:ff9b::a9fe:a9fe", False, False),
    # Others that carry one: compatible, translated, local NAT64, Teredo, ISATAP
    ("::127.0.0.1", False, False),
    ("::8.8.8.8", False, False),
    ("::ffff:0:127.0.0.1", False, False),
    ("::ffff:0:8.8.8.8", False, False),
    ("64:ff9b:1::7f00:1", False, False),
    ("64:ff9b:1::808:808", False, False),
    ("2001:0:4136:e378:8000:63bf:80ff:fffe", False, False),
    ("2606:4700::5efe:7f00:1", False, False),
    ("2606:4700::200:5efe:a9fe:a9fe", False, False),
    ("2606:4700::200:5efe:808:808", True, True),
    # Of two kinds at once: 6to4 and ISATAP
    ("2002:7f00:1::5efe:808:808", False, False),
    ("2002:a9fe:a9fe::5efe:808:808", False, False),
    ("2002:808:808::5efe:7f00:1", False, False),
    ("2002:a00:1::200:5efe:808:808", False, False),
    ("2002:a9fe:a9fe::a9fe:a9fe", False, False),
    # Site-local, discard-only, out of use, not assigned
    ("fec0::1", False, False),
    ("100::1", False, False),
    ("5f00::1", False, False),
    ("4000::1", False, False),
    ("192.88.99.1", False, False),
    ("240.0.0.1", False, False),
    ("0.1.2.3", False, False),
]
# The same where both settings allow these networks.
PRIVATE_NETWORKS = ["10.1.0.0/16", "fd00::/8", "169.254.0.0/16", "fe80::/10", "fec0::/10", "100.64.0.0/10", "::1/128"]
WITH_PRIVATE_NETWORKS = [
    ("8.8.8.8", True, True),
    ("10.1.2.3", True, True),
    ("::ffff:10.1.2.3", True, True),
    ("64:ff9b::a01:203", True, True),
    ("fd00::1", True, True),
    ("10.2.0.1", False, False),
    ("127.0.0.1", False, False),
    # On purpose not the same: operators choose where channels lead, agents choose their own URLs.
    ("169.254.169.254", True, False),
    ("::ffff:169.254.169.254", True, False),
    ("64:ff9b::a9fe:a9fe", True, False),
    ("fe80::1", True, False),
    ("fd00:ec2::254", True, False),
    ("100.100.100.200", True, False),
    ("::ffff:100.100.100.200", True, False),
    # An address in an allowed network that carries one which is not
    ("fec0::1", True, True),
    ("::1", True, True),
    ("fd00::200:5efe:7f00:1", False, False),
    ("fd00::200:5efe:a01:203", True, True),
]
# Hosts that some programs take for a private address, or that programs read differently.
OTHER_SPELLINGS = [
    *("2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.1.", "017700000001", "0"),
    *("8.8.8.010", "134744072", "1.1", "8.8.8.0x8", "evil.example.0x7f000001"),
    *("localhost", "LOCALHOST", "localhost."),
    *("fe80::1%eth0", "fe80::1%25eth0", "2606:4700::1111%eth0", "::1%1"),
    *("１２７.0.0.1", "127。0。0。1", "ⓛocalhost", "bücher.example", "%31%32%37.0.0.1", "127.0.0.1%2f"),
    *("127.0.0.1\\.example.com", "127.0.0.1\x00.example.com", "127.0.0.1 example.com", "a/b", "v1.x:y", ""),
]
TABLE = [
    (address, purpose, networks, allowed)
    for rows, networks in ((WITHOUT_PRIVATE_NETWORKS, []), (WITH_PRIVATE_NETWORKS, PRIVATE_NETWORKS))
    for address, for_channels, for_agents in rows
    for purpose, allowed in ((Purpose.CHANNEL, for_channels), (Purpose.AGENT, for_agents))
]


def allow(settings, networks):
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network(network) for network in networks]
    settings.AGENT_URL_ALLOW_PRIVATE = settings.DELIVERY_ALLOW_PRIVATE


@pytest.mark.parametrize(("address", "purpose", "networks", "allowed"), TABLE)
def test_an_address_is_allowed_or_refused_for_its_purpose(settings, address, purpose, networks, allowed):
    allow(settings, networks)
    assert is_allowed(ipaddress.ip_address(address), purpose=purpose) is allowed
    if allowed:
        found = resolve_allowed(address, 80, purpose=purpose)
        assert ipaddress.ip_address(found) == ipaddress.ip_address(address)
    else:
        with pytest.raises(ForbiddenAddress, match=purpose.value):
            resolve_allowed(address, 80, purpose=purpose)


@pytest.mark.parametrize(
    ("setting", "purpose", "allowed"),
    [
        ("DELIVERY_ALLOW_PRIVATE", Purpose.CHANNEL, True),
        ("DELIVERY_ALLOW_PRIVATE", Purpose.AGENT, False),
        ("AGENT_URL_ALLOW_PRIVATE", Purpose.AGENT, True),
        ("AGENT_URL_ALLOW_PRIVATE", Purpose.CHANNEL, False),
    ],
)
def test_each_purpose_has_its_own_setting(settings, setting, purpose, allowed):
    allow(settings, [])
    setattr(settings, setting, [ipaddress.ip_network("10.0.0.0/8")])
    assert is_allowed(ipaddress.ip_address("10.1.2.3"), purpose=purpose) is allowed


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("host", OTHER_SPELLINGS)
def test_other_spellings_are_refused(host, purpose):
    with pytest.raises(ForbiddenAddress):
        resolve_allowed(host, 80, purpose=purpose)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize(("is_known", "refusal"), [(True, ForbiddenAddress), (False, Unresolved)])
def test_localhost_localdomain_is_refused_whether_or_not_this_host_knows_it(monkeypatch, is_known, refusal, purpose):
    real = socket.getaddrinfo

    def look_up(host, *arguments, **keywords):
        assert host == "localhost.localdomain"
        return real("127.0.0.1" if is_known else "does-not-exist.invalid", *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(refusal):
        resolve_allowed("localhost.localdomain", 80, purpose=purpose)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_host_with_one_forbidden_address_among_several_is_refused(monkeypatch, purpose):
    found = [(socket.AF_INET, 1, 6, "", (address, 80)) for address in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ForbiddenAddress, match=r"two\.example\.com \(127\.0\.0\.1\)"):
        resolve_allowed("two.example.com", 80, purpose=purpose)


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "does-not-exist.invalid.", "a..b", "x" * 300])
def test_a_host_without_an_address_is_unresolved(host):
    with pytest.raises(Unresolved, match="can't be resolved"):
        resolve_allowed(host, 80, purpose=Purpose.CHANNEL)


def test_urllib3_is_guarded_within_the_block_only(receiver, settings):
    settings.DELIVERY_ALLOW_PRIVATE = []
    with guarded_sockets(), pytest.raises(ForbiddenAddress):
        connection.create_connection(receiver.server_address)
    connection.create_connection(receiver.server_address, timeout=30).close()
