"""Let workspaces reach the platform directly where their other requests go through a proxy."""

from collections.abc import Mapping
from urllib.parse import urlsplit


def without_proxy_to_platform(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with the host of PLATFORM_URL in NO_PROXY and no_proxy.

    A proxy of the company can't reach the platform, and would see the agent's token.
    """
    host = urlsplit(environment.get("PLATFORM_URL", "")).hostname
    # Some programs compare an IPv6 address with its brackets, some without.
    hosts = [host, f"[{host}]"] if host and ":" in host else [host] if host else []
    changed = dict(environment)
    for name, other in (("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")):
        given = environment.get(name) or environment.get(other) or ""
        entries = [entry.strip() for entry in given.split(",") if entry.strip()]
        # A star already stands for all hosts.
        missing = [] if "*" in entries else [each for each in hosts if each not in entries]
        if entries or missing:
            changed[name] = ",".join([*entries, *missing])
    return changed
