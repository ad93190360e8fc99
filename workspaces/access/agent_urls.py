"""The URLs that agents may register, as the wire contract's "URL rules at register" has them."""

from collections.abc import Iterable
from urllib.parse import urlsplit
from uuid import UUID

from events.channels.network.addresses import ForbiddenAddress, Purpose, Unresolved, resolve_allowed
from workspaces.access.masking import WorkspaceMasker

MAX_URL_CHARACTERS = 2000
# Shorter values, such as `1` or `prod`, occur in paths by chance.
_MIN_SECRET_CHARACTERS = 6


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
    except ValueError:
        # Without the error, which repeats what may be a password.
        raise ForbiddenUrl("The URL can't be parsed: its host or its port is malformed.") from None
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


def check_without_secrets(url: str, values: Iterable[str], *, workspace_id: UUID) -> None:
    """Raise ForbiddenUrl if a value of at least six characters, or a credential, stands behind the URL's host.

    Others get to see an agent's URL and call it as it is, so it can't be masked.
    """
    parts = urlsplit(url)
    # In brackets, since the rest of a value at the end of a text would count.
    behind_host = f"({parts._replace(scheme='', netloc='').geturl()})"
    masker = WorkspaceMasker(
        [value for value in values if len(value) >= _MIN_SECRET_CHARACTERS], workspace_id=workspace_id
    )
    if masker.mask(behind_host) != behind_host:
        raise ForbiddenUrl(
            "The URL contains a secret or a token, and other agents, events and pages show it. "
            "Send the secret in a header instead."
        )
