"""Random credentials, and the tokens of agents: shown once, stored only as SHA-256."""

import hashlib
import re
import secrets

from events.masking.credentials import AGENT_TOKEN_PREFIX, REST_CHARACTERS
from workspaces.models import AgentToken, Workspace

TOKEN_BYTES = 32
# WWW-Authenticate for one that is known but not valid any more (RFC 6750).
CHALLENGE_OF_A_FORMER_CREDENTIAL = 'Bearer error="invalid_token"'
# How much of an API key is stored in clear, so that operators can recognise it.
PREFIX_CHARACTERS = 10
_REST = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])")


def digest(credential: str) -> str:
    """Return the SHA-256 in hex, by which the database finds a credential.

    It needs no salt, because a credential has 256 random bits. Nor does the time of the look-up help to guess one: it
    depends on the hash of what was sent, and nobody can choose that to be near another hash.
    """
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
