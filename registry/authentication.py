"""Which workspace's agent reports: its bearer token says so, and the id in its body has to agree."""

from http import HTTPStatus
from uuid import UUID

from django.http import HttpRequest

from workspaces.access.authentication import Agent, bearer_token, find_agent, unauthorized
from workspaces.access.errors import RequestRefused


def authenticate_agent(request: HttpRequest) -> Agent:
    """Return the calling agent, after one query. Raises Refusal."""
    token = bearer_token(request)
    if not token:
        raise unauthorized("Send the agent's token as `Authorization: Bearer`.")
    return find_agent(token)


def require_agent(request: HttpRequest, *, claimed: UUID) -> Agent:
    """Return the calling agent, unless it reports for a workspace that isn't its own. Raises Refusal."""
    agent: Agent = request.auth  # type: ignore[attr-defined]
    if claimed != agent.workspace_id:
        raise RequestRefused(HTTPStatus.FORBIDDEN, f"This token is not of the workspace {claimed}.", code="forbidden")
    return agent
