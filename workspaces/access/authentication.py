"""Who calls: a workspace's agent, a script with an API key, or an operator who is signed in."""

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
    """What listeners were told of a workspace so far: as of the look-up, for what is told next."""

    name: str
    runtime: str
    parent_id: UUID | None
    version: int
    current_task: str
    active_tasks: int


@dataclass(frozen=True, kw_only=True)
class Agent:
    """The agent of a workspace's present launch. `status` is as of the look-up: no guard may rely on it.

    `received_at` is the database's time of the look-up.
    """

    received_at: datetime
    workspace_id: UUID
    launch_id: UUID
    status: str
    backend: BackendKind
    snapshot: WorkspaceSnapshot


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Who acts for the operators; `name` is for messages."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may call: an API key with one of the scopes, or a signed-in operator with the permission.

    With `own_agent` the agent of the workspace in the path may too. Raises Refusal for everyone else.
    """

    scopes: tuple[ApiScope, ...]
    permission: str
    own_agent: bool = False

    def __call__(self, request: HttpRequest) -> Operator | Agent:
        credential = bearer_token(request)
        if credential is None:
            return self._of_session(request)
        key = find_api_key(credential)
        if key is None:
            return self._of_agent(request, credential)
        if not any(allows(key, scope) for scope in self.scopes):
            needed = " or ".join(f"`{scope}`" for scope in self.scopes)
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"This API key lacks the scope {needed}.", code="forbidden")
        return Operator(name=f"the API key {key.name}")

    def _of_session(self, request: HttpRequest) -> Operator:
        user = request.user
        if not user.is_authenticated:
            raise unauthorized("Sign in, or send an API key as `Authorization: Bearer`.")
        if check_csrf(request) is not None:
            raise RequestRefused(HTTPStatus.FORBIDDEN, "The CSRF token is missing or wrong.", code="csrf")
        if not (user.is_staff and user.has_perm(self.permission)):
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"You lack the permission {self.permission}.", code="forbidden")
        return Operator(name=user.get_username())

    def _of_agent(self, request: HttpRequest, token: str) -> Agent:
        agent = find_agent(token)
        match = request.resolver_match
        if (
            not self.own_agent
            or match is None
            or str(agent.workspace_id) != match.kwargs.get("workspace_id", "").lower()
        ):
            raise RequestRefused(
                HTTPStatus.FORBIDDEN, "An agent's token serves only its own workspace's calls.", code="forbidden"
            )
        return agent


def bearer_token(request: HttpRequest) -> str | None:
    """Return the credential of the Authorization header, or None."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def unauthorized(error: str, *, code: str = "unauthorized") -> RequestRefused:
    """Return the refusal of a caller whose credential is missing or worth nothing."""
    return RequestRefused(HTTPStatus.UNAUTHORIZED, error, code=code)


def find_agent(token: str) -> Agent:
    """Return whose token this is, in one query. Raises Refusal where the launch or the workspace is past."""
    with connection.cursor() as cursor:
        cursor.execute(_CALLER, [digest(token)])
        row = cursor.fetchone()
    if row is None:
        raise unauthorized("This credential is unknown or was revoked.")
    found = _Credential(*row)
    _refuse_past(found)
    return Agent(
        received_at=found.received_at,
        workspace_id=found.workspace_id,
        launch_id=found.launch_id,
        status=found.status,
        backend=BackendKind(found.backend),
        snapshot=_snapshot(found),
    )


def _snapshot(found: "_Credential") -> WorkspaceSnapshot:
    return WorkspaceSnapshot(
        name=found.name,
        runtime=found.runtime,
        parent_id=found.parent_id,
        version=found.version,
        # The heartbeat's row is made with the workspace; one without it was made by hand.
        current_task=found.current_task or "",
        active_tasks=found.active_tasks or 0,
    )


class _Credential(NamedTuple):
    received_at: datetime
    workspace_id: UUID
    launch_id: UUID
    revoked_at: datetime | None
    torn_down_at: datetime | None
    status: str
    present_launch_id: UUID
    backend: str
    name: str
    runtime: str
    parent_id: UUID | None
    version: int
    current_task: str | None
    active_tasks: int | None


# By hand, since every report of every agent asks it: the ORM took longer to word it than all else that a heartbeat is.
_CALLER = """
SELECT statement_timestamp(), token.workspace_id, token.launch_id, token.revoked_at, launch.torn_down_at,
       workspace.status, workspace.launch_id, workspace.backend, workspace.name, workspace.runtime,
       workspace.parent_id, workspace.version, heartbeat.current_task, heartbeat.active_tasks
FROM workspaces_agenttoken AS token
JOIN workspaces_workspace AS workspace ON workspace.id = token.workspace_id
JOIN workspaces_launch AS launch ON launch.id = token.launch_id
LEFT JOIN workspaces_heartbeat AS heartbeat ON heartbeat.workspace_id = token.workspace_id
WHERE token.digest = %s
"""


def _refuse_past(found: _Credential) -> None:
    if found.status == WorkspaceStatus.REMOVED:
        raise RequestRefused(HTTPStatus.GONE, "This workspace was removed.", code="removed")
    if found.launch_id != found.present_launch_id:
        raise superseded()
    if found.revoked_at is not None:
        raise unauthorized("This token was revoked.")
    # An external launch counts as torn down from its beginning: nothing of ours runs for it.
    if found.torn_down_at is not None and found.backend != BackendKind.EXTERNAL:
        raise unauthorized("This launch was stopped. Its agent is expected to end.", code="superseded")


def superseded() -> RequestRefused:
    """Return the refusal that tells an earlier launch's agent to end."""
    return unauthorized("A later launch has taken this one's place. Its agent is expected to end.", code="superseded")
