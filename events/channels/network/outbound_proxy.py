"""Webhooks and chats through OUTBOUND_PROXY, the only proxy that they use.

The proxy looks up the target's name, so the address that it connects to can't be checked here. The target is judged by
its name instead, and by its addresses as far as this host finds them.
"""

import ipaddress
from urllib.parse import unquote, urlsplit

from django.conf import settings

from events.channels.network.addresses import (
    ForbiddenAddress,
    Purpose,
    Unresolved,
    check_host,
    is_public,
    judged_addresses,
    origin_of,
    resolve_allowed,
)

# Names that only mean something within a network, so that they lead to the proxy's own surroundings.
_LOCAL_SUFFIXES = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan", ".home.arpa", ".corp")


def judge_target(host: str, port: int) -> bool:
    """Return whether connections to this target go through OUTBOUND_PROXY.

    Targets in the networks of DELIVERY_ALLOW_PRIVATE are reached directly. Raises ForbiddenAddress, and Unresolved if
    no proxy could look the name up instead.
    """
    try:
        address = ipaddress.ip_address(resolve_allowed(host, port, purpose=Purpose.CHANNEL))
    except Unresolved:
        if not settings.OUTBOUND_PROXY:
            raise
        name = check_host(host).lower()
        if "." not in name or name.endswith(_LOCAL_SUFFIXES):
            raise ForbiddenAddress(f"{name} is a name of a local network, which the proxy must not look up.") from None
        return True
    return bool(settings.OUTBOUND_PROXY) and all(is_public(each) for each in judged_addresses(address))


def is_proxy(host: str, port: int) -> bool:
    """Return whether this is the address of OUTBOUND_PROXY."""
    return bool(settings.OUTBOUND_PROXY) and (host.strip("[]"), port) == origin_of(settings.OUTBOUND_PROXY)[1:]


def proxy_login() -> tuple[str, str] | None:
    """Return the user name and password of OUTBOUND_PROXY, or None if it has none."""
    parts = urlsplit(settings.OUTBOUND_PROXY)
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
