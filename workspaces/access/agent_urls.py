"""The URLs that agents may register, as the wire contract's "URL rules at register" has them."""

from urllib.parse import urlsplit

from events.channels.network.addresses import ForbiddenAddress, Purpose, Unresolved, resolve_allowed

MAX_URL_CHARACTERS = 2000


class ForbiddenUrl(ValueError):
    """An agent must not register this URL. The message says why."""


def check_agent_url(url: str) -> None:
    """Raise ForbiddenUrl unless the URL is well formed and every address of its host is allowed for agents.

    Looks up the host's name. `localhost` is allowed by name.
    """
    if len(url) > MAX_URL_CHARACTERS or " " in url or not url.isprintable():
        raise ForbiddenUrl(
            f"The URL is longer than {MAX_URL_CHARACTERS} characters or contains white space or control characters."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ForbiddenUrl(f"The URL can't be parsed: {error}.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ForbiddenUrl("The URL must begin with http:// or https:// and name a host.")
    if "@" in parts.netloc:
        raise ForbiddenUrl("The URL must not contain a user name or password.")
    if host.removesuffix(".") == "localhost":
        return
    try:
        resolve_allowed(host, port or (443 if parts.scheme == "https" else 80), purpose=Purpose.AGENT)
    except (ForbiddenAddress, Unresolved) as error:
        raise ForbiddenUrl(str(error)) from None
