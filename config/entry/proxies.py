"""What a request passed on its way: whose it is, and the prefix of its path. Only TRUSTED_PROXIES are believed."""

from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings

from config.environment import PREFIX

# The address of a client whose proxies give something else than an address.
UNKNOWN = "0.0.0.0"  # noqa: S104
_MAX_PREFIX_CHARACTERS = 200


def client_address(peer: str, forwarded_for: str | None) -> str:
    """Return the address of the client: the connection's, or the first behind the trusted proxies.

    Each proxy appends the address that it was asked from to X-Forwarded-For, so read it from the right, as far as the
    proxies are trusted. What the client wrote itself stands further left. Without the header, None, a trusted address
    asks for itself.
    """
    address = peer
    if forwarded_for is not None and is_trusted(peer, passed=0):
        for passed, text in enumerate(reversed(forwarded_for.split(",")), start=1):
            forwarded = parsed(text)
            if forwarded is None:
                # Not the proxy's own: a key that is bound to the proxy's network would pass.
                return UNKNOWN
            address = str(forwarded)
            if not is_trusted(address, passed=passed):
                break
    return address


def prefix_and_path(path: str, *, forwarded_prefix: str, server_prefix: str) -> tuple[str, str]:
    """Return the prefix below which a request came, `/slipway` or empty, and its path behind that.

    The prefix is what a trusted proxy says, else PATH_PREFIX, else what the server was started with. Some proxies take
    it off the path and some don't.
    """
    is_usable = 0 < len(forwarded_prefix) <= _MAX_PREFIX_CHARACTERS and PREFIX.fullmatch(forwarded_prefix)
    prefix = (forwarded_prefix.rstrip("/") if is_usable else "") or settings.PATH_PREFIX or server_prefix
    is_below = path == prefix or path.startswith(f"{prefix}/")
    return prefix, (path.removeprefix(prefix) if is_below else path) or "/"


def is_trusted(address: str, *, passed: int) -> bool:
    """Return whether this address, with `passed` proxies between it and this process, is a trusted proxy."""
    trusted = settings.TRUSTED_PROXIES
    if isinstance(trusted, int):
        return passed < trusted
    found = parsed(address)
    return found is not None and any(found in network for network in trusted)


# Few peers send most requests.
@lru_cache(maxsize=1024)
def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, or None. Some proxies add a port: `203.0.113.9:51514`, `[2001:db8::1]:51514`."""
    text = text.strip()
    for candidate in (text, text.rpartition(":")[0]):
        with suppress(ValueError):
            address = ip_address(candidate.strip("[]"))
            return getattr(address, "ipv4_mapped", None) or address
    return None
