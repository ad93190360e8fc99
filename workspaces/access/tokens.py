"""Agent tokens and API keys: made once, shown once, kept as a SHA-256 only."""

import hashlib
import secrets
from datetime import datetime

from workspaces.models import AgentToken, ApiKey, ApiScope, Workspace

TOKEN_BYTES = 32
# The length of TOKEN_BYTES in base64url without padding.
TOKEN_CHARACTERS = 43
# How much of an API key is kept in clear, to recognise it by.
PREFIX_CHARACTERS = 10
MAX_KEY_NAME_CHARACTERS = 100

_INCLUDED = {
    ApiScope.ADMIN: {ApiScope.ADMIN, ApiScope.OPERATE, ApiScope.READ},
    ApiScope.OPERATE: {ApiScope.OPERATE, ApiScope.READ},
    ApiScope.READ: {ApiScope.READ},
    ApiScope.WATCH: {ApiScope.WATCH},
}


class InvalidKey(ValueError):
    """No key can be made of this; the message names what is wrong."""


class UnknownKey(LookupError):
    """No API key, or more than one, is meant by this prefix; the message says which."""


def digest(credential: str) -> str:
    """Return the SHA-256, in hex. No salt: a credential of 256 random bits can't be guessed from it."""
    return hashlib.sha256(credential.encode()).hexdigest()


def mint_agent_token(workspace: Workspace) -> str:
    """Make a token of the workspace's present launch and return it; it can't be read again."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    AgentToken.objects.create(workspace=workspace, launch_id=workspace.launch_id, digest=digest(token))
    return token


def mint_api_key(*, name: str, scopes: list[str]) -> tuple[ApiKey, str]:
    """Make an API key; return the row and the key itself, which can't be read again. Raises InvalidKey."""
    if not name.strip() or not name.isprintable() or len(name) > MAX_KEY_NAME_CHARACTERS:
        raise InvalidKey(f"A key's name is one line of 1 to {MAX_KEY_NAME_CHARACTERS} printable characters.")
    unknown = sorted(set(scopes) - set(ApiScope.values))
    if unknown or not scopes:
        what = f"There is no scope {unknown[0][:80]!r}." if unknown else "A key needs a scope."
        raise InvalidKey(f"{what} Known scopes: {', '.join(ApiScope.values)}.")
    # Named by its first letters, so that people and scanners know what leaked; and no shell takes it for an option.
    key = f"slw_{secrets.token_urlsafe(TOKEN_BYTES)}"
    row = ApiKey.objects.create(
        name=name, prefix=key[:PREFIX_CHARACTERS], digest=digest(key), scopes=sorted(set(scopes))
    )
    return row, key


def find_api_key(key: str) -> ApiKey | None:
    """Return the key's row unless it is unknown or revoked."""
    return ApiKey.objects.filter(digest=digest(key), revoked_at__isnull=True).first()


def revoke_api_key(prefix: str, *, now: datetime) -> ApiKey:
    """Revoke the one key that begins so, and return it. Raises UnknownKey."""
    meant = list(ApiKey.objects.filter(revoked_at__isnull=True, prefix__startswith=prefix).order_by("pk")[:2])
    if not prefix or not meant:
        raise UnknownKey(f"No valid API key begins with {prefix[:80]!r}. `manage.py api_key list` shows them.")
    if len(meant) > 1:
        raise UnknownKey(f"Several API keys begin with {prefix!r}: give more of it.")
    ApiKey.objects.filter(pk=meant[0].pk).update(revoked_at=now)
    return meant[0]


def allows(key: ApiKey, scope: ApiScope) -> bool:
    """Tell whether the key's scopes include this one."""
    return any(scope in _INCLUDED[ApiScope(held)] for held in key.scopes)
