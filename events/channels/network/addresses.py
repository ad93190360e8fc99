"""Which addresses a channel may reach: the public internet, and the networks that an operator allows."""

import ipaddress
import socket

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Reaches private networks through a gateway: what counts is the address within.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddress(ValueError):
    """The host is, or resolves to, an address that channels may not reach."""


class Unresolved(OSError):
    """The host name has no address now."""


def reachable_address(host: str, port: int) -> str:
    """Return an address of the host that may be reached, to connect to it and no other.

    Every address is judged, not only the first. Raises ForbiddenAddress, Unresolved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"The name {host} has no address now: {error}.") from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if not is_allowed(address):
            raise ForbiddenAddress(
                f"{host} leads to {address}, which is no public address. An operator can allow its network "
                "with DELIVERY_ALLOW_PRIVATE."
            )
    return str(addresses[0])


def is_allowed(address: Address) -> bool:
    """Tell whether a channel may connect there."""
    inner = _inner(address)
    if any(inner in network or address in network for network in settings.DELIVERY_ALLOW_PRIVATE):
        return True
    return inner.is_global and not inner.is_multicast


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
