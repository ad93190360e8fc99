"""Identifies the calling agent by its bearer token. The workspace ID that it sends must agree."""

from http import HTTPStatus
from uuid import UUID

from django.http import HttpRequest

from workspaces.access.authentication import Agent, bearer_token, find_agent, unauthorized
from workspaces.access.errors import RequestRefused


def authenticate_agent(request: HttpRequest) -> Agent:
    """Return the calling agent, with one query. Raises RequestRefused."""
    token = bearer_token(request)
    if not token:
        raise unauthorized("Send the agent's token as `Authorization: Bearer`.")
    return find_agent(token)


def require_agent(request: HttpRequest, *, claimed: UUID) -> Agent:
    """Return the calling agent. Raises RequestRefused if `claimed` is not its own workspace."""
    agent: Agent = request.auth  # type: ignore[attr-defined]
    if claimed != agent.workspace_id:
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, f"This token does not belong to the workspace {claimed}.", code="forbidden"
        )
    return agent
