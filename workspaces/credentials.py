"""Agent tokens and API keys: made once, shown once, kept as a SHA-256 only."""

import hashlib
import secrets

from workspaces.models import AgentToken, ApiKey, ApiScope, Launch

TOKEN_BYTES = 32
# The length of TOKEN_BYTES in base64url without padding.
TOKEN_CHARACTERS = 43

_INCLUDED = {
    ApiScope.ADMIN: {ApiScope.ADMIN, ApiScope.OPERATE, ApiScope.READ},
    ApiScope.OPERATE: {ApiScope.OPERATE, ApiScope.READ},
    ApiScope.READ: {ApiScope.READ},
    ApiScope.WATCH: {ApiScope.WATCH},
}


def digest(credential: str) -> str:
    """Return the SHA-256, in hex. No salt: a credential of 256 random bits can't be guessed from it."""
    return hashlib.sha256(credential.encode()).hexdigest()


def mint_agent_token(launch: Launch) -> str:
    """Make a token of this launch and return it; it can't be read again."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    AgentToken.objects.create(workspace_id=launch.workspace_id, launch=launch, digest=digest(token))
    return token


def mint_api_key(*, name: str, scopes: list[str]) -> tuple[ApiKey, str]:
    """Make an API key; return the row and the key itself, which can't be read again."""
    key = secrets.token_urlsafe(TOKEN_BYTES)
    row = ApiKey.objects.create(name=name, prefix=key[:6], digest=digest(key), scopes=sorted(set(scopes)))
    return row, key


def find_api_key(key: str) -> ApiKey | None:
    """Return the key's row unless it is unknown or revoked."""
    return ApiKey.objects.filter(digest=digest(key), revoked_at__isnull=True).first()


def allows(key: ApiKey, scope: ApiScope) -> bool:
    """Tell whether the key's scopes include this one."""
    return any(scope in _INCLUDED[ApiScope(held)] for held in key.scopes)
