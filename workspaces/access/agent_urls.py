"""Which urls an agent may register: never a way into our own network that the deployment didn't open."""

import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings

MAX_URL_CHARACTERS = 2000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Carrier-grade NAT; the standard library calls it neither private nor global.
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_DOCUMENTATION = [
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
]


class ForbiddenUrl(ValueError):
    """An agent can't be reached at this url, or mustn't be; the message says why."""


def check_agent_url(url: str) -> None:
    """Raise ForbiddenUrl unless every address behind the url is one that agents may have.

    Source of the rules: the wire contract's "URL rules at register". Resolves the host's name.
    """
    host, port = _host_and_port(url)
    if host == "localhost":
        return
    for address in _addresses(host, port):
        _check_address(address, host)


def _host_and_port(url: str) -> tuple[str, int]:
    if len(url) > MAX_URL_CHARACTERS or any(ord(character) <= 32 for character in url):
        raise ForbiddenUrl(f"The url is longer than {MAX_URL_CHARACTERS} characters, or holds white space.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ForbiddenUrl(f"The url can't be read: {error}.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ForbiddenUrl("The url must be http:// or https:// with a host.")
    if parts.username or parts.password:
        raise ForbiddenUrl("The url must not carry a user name or password.")
    return host.rstrip(".").lower(), port or (443 if parts.scheme == "https" else 80)


def _addresses(host: str, port: int) -> list[Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ForbiddenUrl(f"The url's host {host[:253]} can't be resolved.") from None
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _check_address(address: Address, host: str) -> None:
    # An IPv4 address in IPv6 clothes is judged as what it is.
    plain = getattr(address, "ipv4_mapped", None) or address
    allowed = any(plain in network for network in settings.AGENT_URL_ALLOW_PRIVATE)
    # Metadata services are link-local: no deployment opens those.
    if allowed and not plain.is_link_local:
        return
    if _is_forbidden(plain):
        raise ForbiddenUrl(
            f"The url's host {host} is {plain}, where no agent may be. "
            "A private network can be allowed with AGENT_URL_ALLOW_PRIVATE."
        )


def _is_forbidden(address: Address) -> bool:
    return (
        not address.is_global
        or address.is_multicast
        or address.is_loopback
        or address in _SHARED
        or any(address in network for network in _DOCUMENTATION)
    )
