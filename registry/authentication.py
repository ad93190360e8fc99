"""Identifies the calling agent by its bearer token. The workspace ID that it sends must agree."""

from http import HTTPStatus
from uuid import UUID

from django.http import HttpRequest

from events.masking.credentials import KEY_PREFIX
from workspaces.access.authentication import Agent, bearer_token, find_agent, unauthorized
from workspaces.access.errors import RequestRefused


def authenticate_agent(request: HttpRequest) -> Agent:
    """Return the calling agent, with one query. Raises RequestRefused."""
    return find_agent(required_token(request))


def required_token(request: HttpRequest) -> str:
    """Return the token that the agent sent. Raises RequestRefused if it sent none, or an API key."""
    token = bearer_token(request)
    if not token:
        raise unauthorized("Send the agent's token as `Authorization: Bearer`.")
    if token.startswith(KEY_PREFIX):
        # Whether the key is valid or not.
        raise unauthorized("This is an API key. Only the token of a workspace's agent serves this call.")
    return token


def require_agent(request: HttpRequest, *, claimed: UUID) -> Agent:
    """Return the calling agent. Raises RequestRefused if `claimed` is not its own workspace."""
    agent: Agent = request.auth  # type: ignore[attr-defined]
    check_claim(agent, claimed=claimed)
    return agent


def check_claim(agent: Agent, *, claimed: UUID) -> None:
    """Raise RequestRefused if `claimed` is not the agent's own workspace."""
    if claimed != agent.workspace_id:
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, f"This token does not belong to the workspace {claimed}.", code="forbidden"
        )
