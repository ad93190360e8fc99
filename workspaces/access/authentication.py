"""Authentication: the agent of a workspace, a script with an API key, or a signed-in operator."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.http import HttpRequest
from ninja.utils import check_csrf

from workspaces.access.errors import RequestRefused
from workspaces.access.tokens import allows, digest, find_api_key
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, BackendKind


@dataclass(frozen=True, kw_only=True)
class WorkspaceSnapshot:
    """A workspace as it was at the look-up, for the events that follow from the request."""

    name: str
    runtime: str
    parent_id: UUID | None
    version: int
    current_task: str
    active_tasks: int


@dataclass(frozen=True, kw_only=True)
class Agent:
    """The agent of a workspace's current launch.

    `received_at` is the database's time of the look-up. `status` is the status at that time: check it again under a
    lock before you change anything.
    """

    received_at: datetime
    workspace_id: UUID
    launch_id: UUID
    status: str
    backend: BackendKind
    snapshot: WorkspaceSnapshot


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A signed-in user or an API key; `name` is for messages."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Access:
    """Authenticates a request: an API key with one of the scopes, or a staff user with the permission.

    With `own_agent` also the agent of the workspace in the path. Raises RequestRefused for everyone else.
    """

    scopes: tuple[ApiScope, ...]
    permission: str
    own_agent: bool = False

    def __call__(self, request: HttpRequest) -> Operator | Agent:
        credential = bearer_token(request)
        if credential is None:
            return self.authenticate_user(request)
        key = find_api_key(credential)
        if key is None:
            return self.authenticate_agent(request, credential)
        if not any(allows(key, scope) for scope in self.scopes):
            needed = " or ".join(f"`{scope}`" for scope in self.scopes)
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"This API key lacks the scope {needed}.", code="forbidden")
        return Operator(name=f"the API key {key.name}")

    def authenticate_user(self, request: HttpRequest) -> Operator:
        user = request.user
        if not user.is_authenticated:
            raise unauthorized("Sign in, or send an API key as `Authorization: Bearer`.")
        if check_csrf(request) is not None:
            raise RequestRefused(HTTPStatus.FORBIDDEN, "The CSRF token is missing or wrong.", code="csrf")
        if not (user.is_staff and user.has_perm(self.permission)):
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"You lack the permission {self.permission}.", code="forbidden")
        return Operator(name=user.get_username())

    def authenticate_agent(self, request: HttpRequest, token: str) -> Agent:
        agent = find_agent(token)
        match = request.resolver_match
        requested = match.kwargs.get("workspace_id", "").lower() if match else ""
        if not self.own_agent or str(agent.workspace_id) != requested:
            raise RequestRefused(
                HTTPStatus.FORBIDDEN, "An agent's token serves only its own workspace's calls.", code="forbidden"
            )
        return agent


def bearer_token(request: HttpRequest) -> str | None:
    """Return the credential of the Authorization header, or None."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def unauthorized(error: str, *, code: str = "unauthorized") -> RequestRefused:
    """Return the 401 for a missing or invalid credential."""
    return RequestRefused(HTTPStatus.UNAUTHORIZED, error, code=code)


class _TokenRow(NamedTuple):
    received_at: datetime
    workspace_id: UUID
    launch_id: UUID
    revoked_at: datetime | None
    torn_down_at: datetime | None
    status: str
    current_launch_id: UUID
    backend: str
    name: str
    runtime: str
    parent_id: UUID | None
    version: int
    # None for a workspace whose heartbeat row is missing: one that was inserted by hand.
    current_task: str | None
    active_tasks: int | None


# SQL instead of the ORM because every report of every agent runs it: composing the query took longer than the rest.
_FIND_AGENT = """
SELECT statement_timestamp(), token.workspace_id, token.launch_id, token.revoked_at, launch.torn_down_at,
       workspace.status, workspace.launch_id, workspace.backend, workspace.name, workspace.runtime,
       workspace.parent_id, workspace.version, heartbeat.current_task, heartbeat.active_tasks
FROM workspaces_agenttoken AS token
JOIN workspaces_workspace AS workspace ON workspace.id = token.workspace_id
JOIN workspaces_launch AS launch ON launch.id = token.launch_id
LEFT JOIN workspaces_heartbeat AS heartbeat ON heartbeat.workspace_id = token.workspace_id
WHERE token.digest = %s
"""


def find_agent(token: str) -> Agent:
    """Return the agent that has this token, in one query.

    Raises RequestRefused if the token is unknown or revoked, its launch is over or its workspace is removed.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FIND_AGENT, [digest(token)])
        record = cursor.fetchone()
    if record is None:
        raise unauthorized("This credential is unknown or was revoked.")
    row = _TokenRow(*record)
    if row.status == WorkspaceStatus.REMOVED:
        raise RequestRefused(HTTPStatus.GONE, "This workspace was removed.", code="removed")
    if row.launch_id != row.current_launch_id:
        error = "A later launch has taken this one's place. Its agent is expected to end."
        raise unauthorized(error, code="superseded")
    if row.revoked_at is not None:
        raise unauthorized("This token was revoked.")
    # An external launch counts as torn down from its beginning, because Slipway runs nothing for it.
    if row.torn_down_at is not None and row.backend != BackendKind.EXTERNAL:
        raise unauthorized("This launch was stopped. Its agent is expected to end.", code="superseded")
    return Agent(
        received_at=row.received_at,
        workspace_id=row.workspace_id,
        launch_id=row.launch_id,
        status=row.status,
        backend=BackendKind(row.backend),
        snapshot=WorkspaceSnapshot(
            name=row.name,
            runtime=row.runtime,
            parent_id=row.parent_id,
            version=row.version,
            current_task=row.current_task or "",
            active_tasks=row.active_tasks or 0,
        ),
    )
