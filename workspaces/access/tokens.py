"""Agent tokens and API keys: shown once, stored only as SHA-256."""

import hashlib
import re
import secrets
from datetime import datetime

from agent.texts import clean_name
from workspaces.models import AgentToken, ApiKey, ApiScope, Workspace

TOKEN_BYTES = 32
# The length of TOKEN_BYTES in base64url without padding.
TOKEN_CHARACTERS = 43
# They tell people, secret scanners and masking.py what leaked, and keep a shell from reading a key as an option.
KEY_PREFIX, AGENT_TOKEN_PREFIX = "slw_", "slwt_"
CREDENTIAL_PREFIXES = (KEY_PREFIX, AGENT_TOKEN_PREFIX)
# How much of an API key is stored in clear, so that operators can recognise it.
PREFIX_CHARACTERS = 10
MAX_KEY_NAME_CHARACTERS = 100

_INCLUDED = {
    ApiScope.ADMIN: {ApiScope.ADMIN, ApiScope.OPERATE, ApiScope.READ},
    ApiScope.OPERATE: {ApiScope.OPERATE, ApiScope.READ},
    ApiScope.READ: {ApiScope.READ},
    ApiScope.WATCH: {ApiScope.WATCH},
}


# masking.py recognises so much of a credential that a log was cut in.
REST_CHARACTERS = 16
_REST = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])")


class InvalidKey(ValueError):
    """The name or the scopes of a new API key are invalid; the message says why."""


class UnknownKey(LookupError):
    """No valid API key, or more than one, has this prefix; the message says which."""


def digest(credential: str) -> str:
    """Return the SHA-256 in hex. It needs no salt, because a credential has 256 random bits."""
    return hashlib.sha256(credential.encode()).hexdigest()


def random_text() -> str:
    """Return 32 random bytes in Base64, of which each rest of 16 characters looks random: it has all kinds of them."""
    while True:
        text = secrets.token_urlsafe(TOKEN_BYTES)
        if all(_REST.match(text, at, at + REST_CHARACTERS) for at in range(len(text) - REST_CHARACTERS + 1)):
            return text


def mint_agent_token(workspace: Workspace) -> str:
    """Store a new token of the workspace's current launch and return it; it can't be read again."""
    token = AGENT_TOKEN_PREFIX + random_text()
    AgentToken.objects.create(workspace=workspace, launch_id=workspace.launch_id, digest=digest(token))
    return token


def mint_api_key(*, name: str, scopes: list[str]) -> tuple[ApiKey, str]:
    """Store a new API key. Return its row and the key, which can't be read again. Raises InvalidKey."""
    rule = f"A key's name is one line of 1 to {MAX_KEY_NAME_CHARACTERS} characters that can be seen"
    try:
        name = clean_name(name)
    except ValueError as error:
        raise InvalidKey(f"{rule}; this one {error}.") from None
    if not 0 < len(name) <= MAX_KEY_NAME_CHARACTERS:
        raise InvalidKey(f"{rule}.")
    unknown = sorted(set(scopes) - set(ApiScope.values))
    if unknown or not scopes:
        what = f"There is no scope {unknown[0][:80]!r}." if unknown else "A key needs a scope."
        raise InvalidKey(f"{what} Known scopes: {', '.join(ApiScope.values)}.")
    key = KEY_PREFIX + random_text()
    row = ApiKey.objects.create(
        name=name, prefix=key[:PREFIX_CHARACTERS], digest=digest(key), scopes=sorted(set(scopes))
    )
    return row, key


def find_api_key(key: str) -> ApiKey | None:
    """Return the key's row, or None if it is unknown or revoked."""
    return ApiKey.objects.filter(digest=digest(key), revoked_at__isnull=True).first()


def revoke_api_key(prefix: str, *, now: datetime) -> ApiKey:
    """Revoke the only valid key with this prefix and return its row. Raises UnknownKey."""
    matching = list(ApiKey.objects.filter(revoked_at__isnull=True, prefix__startswith=prefix).order_by("pk")[:2])
    if not prefix or not matching:
        raise UnknownKey(f"No valid API key begins with {prefix[:80]!r}. `manage.py api_key list` shows them.")
    if len(matching) > 1:
        raise UnknownKey(f"Several API keys begin with {prefix!r}: give more of it.")
    ApiKey.objects.filter(pk=matching[0].pk).update(revoked_at=now)
    return matching[0]


def allows(key: ApiKey, scope: ApiScope) -> bool:
    """Return whether the key's scopes include this one."""
    return any(scope in _INCLUDED[ApiScope(own)] for own in key.scopes)
