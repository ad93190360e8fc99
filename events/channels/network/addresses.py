"""The one rule for addresses that channels connect to and that agents register."""

import ipaddress
import re
import socket
from enum import Enum
from urllib.parse import urlsplit

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What IPv6 has assigned to public hosts (RFC 4291). The rest is special or not in use.
_UNICAST = ipaddress.IPv6Network("2000::/3")
# Networks whose addresses stand for the IPv4 address in their last 32 bits: mapped (RFC 4291), NAT64 (RFC 6052).
_STAND_FOR_IPV4 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
# Networks whose addresses carry one as well but are out of use: compatible (RFC 4291), translated (RFC 2765).
_CARRY_IPV4 = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
# The third quarter of an ISATAP address (RFC 5214); the last one is the IPv4 address. It may follow any prefix.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
# Not public either, though Python 3.11 takes them for it: documentation (RFC 9637), relays of 6to4 (RFC 7526).
_NOT_PUBLIC = (ipaddress.ip_network("3fff::/20"), ipaddress.ip_network("192.88.99.0/24"))
# Metadata services of clouds outside the link-local networks: AWS, Google, Alibaba, Oracle.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192")))
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
# Programs disagree about such names: 0177.0.0.1 is 127.0.0.1 to some and 177.0.0.1 to others.
_NUMBER = re.compile(r"(?:[^:]*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)")


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
    name = check_host(host)
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(f"The name {host[:253]} can't be resolved: {error}.") from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if not is_allowed(address, purpose=purpose):
            named = host if name == str(address) else f"{host[:253]} ({address})"
            raise ForbiddenAddress(
                f"{named} is not a public address. Private networks can be allowed with {purpose.value}."
            )
    return str(addresses[0])


def check_host(host: str) -> str:
    """Return the host without a final dot. Raises ForbiddenAddress unless all programs read it alike.

    That leaves out zones of IPv6 addresses, percent-encoding, names that are not ASCII, and IPv4 addresses other than
    four decimal numbers.
    """
    name = host.removesuffix(".")
    if not _HOST.fullmatch(name):
        raise ForbiddenAddress(
            f"{name[:253]!r} is not a host. Enter a name in ASCII (xn--… for others) or an address without a zone."
        )
    if _NUMBER.fullmatch(name):
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise ForbiddenAddress(
                f"{name[:253]} is not a public address. Write an IPv4 address as four decimal numbers."
            ) from None
    return name


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Return a URL's scheme, host and port. Raises ValueError if it can't be parsed."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_allowed(address: Address, *, purpose: Purpose) -> bool:
    """Return whether the address is public, or in a network that the purpose's setting allows.

    An IPv4 address that an IPv6 address carries has to be allowed too. The tests have the whole table.
    """
    judged = judged_addresses(address)
    # Agents choose their own URLs, so no setting lets them point Slipway at a metadata service.
    if purpose is Purpose.AGENT and any(each.is_link_local or each in _METADATA for each in judged):
        return False
    allowed_networks = getattr(settings, purpose.value)
    return all(is_public(each) or any(each in network for network in allowed_networks) for each in judged)


def judged_addresses(address: Address) -> list[Address]:
    """Return the addresses to which a connection to this one may lead.

    Knows the IPv4 addresses in mapped, NAT64, compatible, translated, 6to4, Teredo and ISATAP addresses.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _STAND_FOR_IPV4):
        return [last]
    # One address may be of several of these kinds.
    carried = [address.sixtofour, *(address.teredo or ())]
    is_isatap = (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
    if is_isatap or (any(address in network for network in _CARRY_IPV4) and int(address) > 1):
        carried.append(last)
    return [address, *filter(None, carried)]


def is_public(address: Address) -> bool:
    """Return whether the address belongs to a public host, as far as its number tells."""
    if any(address in network for network in _NOT_PUBLIC):
        return False
    is_unicast = isinstance(address, ipaddress.IPv4Address) or address in _UNICAST
    return is_unicast and address.is_global and not address.is_multicast
