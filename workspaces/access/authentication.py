"""Authentication: the agent of a workspace, a script with an API key, or a signed-in operator."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.http import HttpRequest
from ninja.utils import check_csrf

from workspaces.access.api_keys import allows, find_api_key, is_allowed_from, note_use
from workspaces.access.errors import RequestRefused
from workspaces.access.tokens import CHALLENGE_OF_A_FORMER_CREDENTIAL, digest
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiKey, ApiScope, BackendKind


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
    """A signed-in user or an API key; `name` is for messages, `id` tells callers with the same name apart.

    `received_at` is the database's time at which the key was looked up.
    """

    id: str
    name: str
    received_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Access:
    """Authenticates a request: an API key with one of the scopes, or a staff user with the permission, if it has one.

    With `own_agent` also the agent of the workspace in the path. Raises RequestRefused for everyone else.
    """

    scopes: tuple[ApiScope, ...]
    permission: str
    own_agent: bool = False

    def __call__(self, request: HttpRequest) -> Operator | Agent:
        credential = bearer_token(request)
        if credential is None:
            return self.authenticate_user(request)
        if key := find_api_key(credential):
            return self.authenticate_key(request, key)
        return self.authenticate_agent(request, credential)

    def authenticate_key(self, request: HttpRequest, key: ApiKey) -> Operator:
        # The client's: the entry has looked behind the proxies (config/entry).
        address = request.META.get("REMOTE_ADDR", "")
        if key.is_expired:
            raise unauthorized(f"This API key expired at {key.expires_at:%Y-%m-%d %H:%M} UTC.", code="expired")
        if not is_allowed_from(key, address):
            why = f"This API key may not be used from {address or 'an unknown address'}."
            raise RequestRefused(HTTPStatus.FORBIDDEN, why, code="forbidden_address")
        if key.is_use_due:
            note_use(key)
        if not any(allows(key, scope) for scope in self.scopes):
            needed = " or ".join(f"`{scope}`" for scope in self.scopes)
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"This API key lacks the scope {needed}.", code="forbidden")
        return Operator(id=f"key {key.pk}", name=f"the API key {key.name}", received_at=key.read_at)

    def authenticate_user(self, request: HttpRequest) -> Operator:
        user = request.user
        if not user.is_authenticated:
            raise unauthorized("Sign in, or send an API key as `Authorization: Bearer`.")
        if request.method == "POST":
            # The check may parse a multipart form, and Django keeps no body that it parses, which others read later.
            _ = request.body
        if check_csrf(request) is not None:
            raise RequestRefused(HTTPStatus.FORBIDDEN, "The CSRF token is missing or wrong.", code="csrf")
        if not user.is_staff or (self.permission and not user.has_perm(self.permission)):
            lacking = f"permission {self.permission}" if self.permission else "right to sign in to the admin"
            raise RequestRefused(HTTPStatus.FORBIDDEN, f"You lack the {lacking}.", code="forbidden")
        return Operator(id=f"user {user.pk}", name=user.get_username())

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
    scheme, _, credential = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    # As config/entry/guesses.py, which counts its calls.
    return credential.strip(" \t") if scheme.lower() == "bearer" else None


def unauthorized(error: str, *, code: str = "unauthorized") -> RequestRefused:
    """Return the 401 for a missing or invalid credential."""
    return RequestRefused(HTTPStatus.UNAUTHORIZED, error, code=code)


def challenge(code: str) -> str:
    """Return the header WWW-Authenticate of a 401 with this code: it tells a token that was valid once from a guess."""
    return CHALLENGE_OF_A_FORMER_CREDENTIAL if code in {"expired", "superseded"} else "Bearer"


class AgentRow(NamedTuple):
    """A row of the SQL function workspaces_find_agent."""

    refusal: str
    received_at: datetime
    workspace_id: UUID
    launch_id: UUID
    status: str
    backend: str
    name: str
    runtime: str
    parent_id: UUID | None
    version: int
    current_task: str
    active_tasks: int


UNKNOWN = "unknown"
_GONE = "Its agent is expected to end."
# What a refused agent is told, and the code that it finds.
_REFUSALS = {
    UNKNOWN: ("This credential is unknown or was revoked.", "unauthorized"),
    "revoked": ("This token was revoked.", "unauthorized"),
    "superseded": (f"A later launch has taken this one's place. {_GONE}", "superseded"),
    "stopped": (f"This launch was stopped. {_GONE}", "superseded"),
}


def find_agent(token: str) -> Agent:
    """Return the agent that has this token, in one query. Raises RequestRefused (agent_of)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM workspaces_find_agent(%s, %s)", [digest(token), WorkspaceStatus.REMOVED])
        record = cursor.fetchone()
    return agent_of(AgentRow(*record) if record else None)


def agent_of(row: AgentRow | None) -> Agent:
    """Return the agent that was found by its token.

    Raises RequestRefused if the token is unknown or revoked, its launch is over or its workspace is removed.
    """
    refusal = row.refusal if row else UNKNOWN
    if refusal == "gone":
        raise RequestRefused(HTTPStatus.GONE, "This workspace was removed.", code="removed")
    if row is None or refusal:
        error, code = _REFUSALS[refusal]
        raise unauthorized(error, code=code)
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
            current_task=row.current_task,
            active_tasks=row.active_tasks,
        ),
    )
