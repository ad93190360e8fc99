"""The one rule for addresses that channels connect to and that agents register."""

import ipaddress
import socket
from enum import Enum
from urllib.parse import urlsplit

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# A NAT64 gateway leads to the IPv4 address in the last 32 bits.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# For documentation (RFC 9637). Python 3.11 takes it for a public network.
_DOCUMENTATION = ipaddress.ip_network("3fff::/20")


class Purpose(Enum):
    """What an address is for. The value is the setting that allows private networks for it."""

    CHANNEL = "DELIVERY_ALLOW_PRIVATE"
    AGENT = "AGENT_URL_ALLOW_PRIVATE"


class ForbiddenAddress(ValueError):
    """The host is, or resolves to, an address that is not allowed."""


class Unresolved(OSError):
    """The host name can't be resolved now."""


def resolve_allowed(host: str, port: int, *, purpose: Purpose) -> str:
    """Return an IP address of the host. Connect to that address, because a second look-up may give another one.

    Every address of the host has to be allowed. Raises ForbiddenAddress, Unresolved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"The name {host[:253]} can't be resolved: {error}.") from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if not is_allowed(address, purpose=purpose):
            named = host if host == str(address) else f"{host[:253]} ({address})"
            raise ForbiddenAddress(
                f"{named} is not a public address. Private networks can be allowed with {purpose.value}."
            )
    return str(addresses[0])


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Return a URL's scheme, host and port. Raises ValueError if it can't be parsed."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_allowed(address: Address, *, purpose: Purpose) -> bool:
    """Return whether the address is public, or in a network that the purpose's setting allows.

    An IPv6 address that stands for an IPv4 address is judged as that one. The tests have the whole table.
    """
    real = address
    if isinstance(address, ipaddress.IPv6Address):
        real = address.ipv4_mapped or address.sixtofour or address
        if address in _NAT64:
            real = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    # Agents choose their own URLs, so no setting lets them point Slipway at a metadata service.
    if purpose is Purpose.AGENT and real.is_link_local:
        return False
    allowed_networks = getattr(settings, purpose.value)
    if any(real in network or address in network for network in allowed_networks):
        return True
    return real.is_global and not real.is_multicast and real not in _DOCUMENTATION
