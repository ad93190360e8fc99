"""The registry's API: what running workspaces and their watchers report."""

from http import HTTPStatus
from typing import Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status
from pydantic import Field

from agent.texts import mend_line
from events.pages import MOST_ROWS, Paged, in_order, page_of
from postgres.clock import database_now
from registry import discovery, services
from registry.authentication import authenticate_agent, require_agent
from registry.discovery import PeerOut
from registry.live_updates import publish_progress
from registry.schemas import (
    AccessIn,
    AllowedOut,
    BootstrapFailedIn,
    BootstrapFailureHeardOut,
    CardIn,
    CardUpdatedOut,
    FailedIn,
    FailureHeardOut,
    FoundOut,
    NoChangeOut,
    ProgressIn,
    ProgressOut,
    RegisteredOut,
    RegisterIn,
    UnreachableOut,
    ignored_json,
)
from workspaces.access.agent_urls import ForbiddenUrl
from workspaces.access.authentication import Access, Agent
from workspaces.access.errors import RequestRefused
from workspaces.api.router import answering
from workspaces.deadlines.policy import current_policy, effective_deadline
from workspaces.enqueue import on_commit
from workspaces.lifecycle.transitions import FailureCode, label_of
from workspaces.models import ApiScope
from workspaces.services.launching.progress import record_progress
from workspaces.tasks import enqueue_due_teardowns

_MOST_TEXT_CHARACTERS = 200

router = Router(tags=["registry"], auth=authenticate_agent)
watchers = Router(
    tags=["watchers"],
    auth=Access(scopes=(ApiScope.WATCH, ApiScope.OPERATE), permission="workspaces.change_workspace"),
)


class PeersListed(Paged):
    """Which peers to list. The header Link has the address of the next page."""

    q: str = Field("", description="a text in the name or role")
    sort: Literal["name", "-name"] = "name"
    # All workspaces without a parent are siblings.
    limit: int | None = Field(MOST_ROWS, ge=1, le=MOST_ROWS)


@router.post("/register")
def register(request: HttpRequest, body: RegisterIn) -> RegisteredOut:
    """Bring the workspace online, or replace the URL and card of one that is online."""
    agent = require_agent(request, claimed=body.id)
    try:
        ignored = services.register(agent, url=body.url or "", agent_card=body.agent_card, now=agent.received_at)
    except ForbiddenUrl as error:
        status, fields = HTTPStatus.UNPROCESSABLE_ENTITY, {"url": str(error)}
        raise RequestRefused(status, str(error), code="validation_error", fields=fields) from error
    body.ignored.update(ignored)
    return {"status": "registered", **ignored_json(body)}


@router.post("/update-card")
def update_card(request: HttpRequest, body: CardIn) -> CardUpdatedOut:
    """Replace the agent's card."""
    agent = require_agent(request, claimed=body.workspace_id)
    body.ignored.update(services.update_card(agent, body.agent_card))
    return {"status": "updated", **ignored_json(body)}


@router.post("/progress")
def report_progress(request: HttpRequest, body: ProgressIn) -> ProgressOut:
    """Record a boot step, and what there is to say of it. The answer has the current deadline."""
    agent = require_agent(request, claimed=body.workspace_id)
    workspace, is_new = record_progress(
        workspace_id=agent.workspace_id,
        launch_id=agent.launch_id,
        step=body.step or "",
        detail=body.detail or "",
        now=agent.received_at,
    )
    if is_new:
        publish_progress(workspace)
    deadline_at = effective_deadline(workspace, policy=current_policy())
    return {"status": "ok", "deadline_at": deadline_at, **ignored_json(body)}


@router.post("/failed")
def failed(request: HttpRequest, body: FailedIn) -> FailureHeardOut:
    """Fail the launch because its agent can't go on."""
    agent = require_agent(request, claimed=body.workspace_id)
    has_failed = services.fail_by_agent(
        agent,
        code=FailureCode(body.code or FailureCode.CRASHED),
        error=body.error or "",
        missing=body.missing or [],
        log_tail=body.log_tail or "",
        clock=database_now,
    )
    return {"status": "ok", **_outcome(agent.workspace_id, has_failed=has_failed), **ignored_json(body)}


@router.get("/discover/{workspace_id}")
@answering({HTTPStatus.OK: FoundOut, HTTPStatus.SERVICE_UNAVAILABLE: UnreachableOut})
def discover(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID
) -> Status[FoundOut] | Status[UnreachableOut]:
    """Tell a workspace's agent the URL of another workspace.

    A hibernated one is woken. The answer is 503 while it can't be reached; Retry-After says when to ask again.
    """
    caller = request.headers.get("X-Workspace-ID", "").strip()
    if not caller:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "X-Workspace-ID header is required", code="bad_request")
    try:
        caller_id = UUID(caller)
    except ValueError:
        sentence = "X-Workspace-ID is not a workspace ID."
        raise RequestRefused(HTTPStatus.BAD_REQUEST, sentence, code="bad_request") from None
    agent = require_agent(request, claimed=caller_id)
    found = discovery.discover(caller_id=agent.workspace_id, target_id=workspace_id)
    target = found.workspace
    if found.is_reachable:
        return Status(HTTPStatus.OK, FoundOut(id=target.pk, url=target.url, name=target.name))
    if found.retry_after_seconds is not None:
        response["Retry-After"] = str(found.retry_after_seconds)
    error = f"{target.name} is {label_of(target.status).lower()}."
    refusal: UnreachableOut = {"error": error, "code": "unreachable", "status": target.status}
    return Status(HTTPStatus.SERVICE_UNAVAILABLE, refusal)


@router.get("/{workspace_id}/peers")
def list_peers(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, wanted: Query[PeersListed]
) -> list[PeerOut]:
    """List the parent, the siblings and the children of the agent's workspace by name."""
    agent = require_agent(request, claimed=workspace_id)
    peers = discovery.find_peers(agent.workspace_id, text=mend_line(wanted.q[:_MOST_TEXT_CHARACTERS]))
    rows = page_of(in_order(peers, wanted), wanted, request=request, response=response)
    return [discovery.peer_json(row) for row in rows]


@router.post("/check-access")
def check_access(request: HttpRequest, body: AccessIn) -> AllowedOut:
    """Tell an agent whether it may reach another workspace, or another one may reach it."""
    agent: Agent = request.auth  # type: ignore[attr-defined]
    allowed = discovery.check_access(asker_id=agent.workspace_id, caller_id=body.caller_id, target_id=body.target_id)
    return {"allowed": allowed}


@watchers.post("/{workspace_id}/bootstrap-failed")
def bootstrap_failed(request: HttpRequest, workspace_id: UUID, body: BootstrapFailedIn) -> BootstrapFailureHeardOut:
    """Fail a launch because a watcher saw its bootstrap fail."""
    has_failed = services.fail_by_watcher(
        workspace_id=workspace_id,
        launch_id=body.launch_id,
        error=body.error or "",
        log_tail=body.log_tail or "",
        now=database_now(),
    )
    return {"ok": True, **_outcome(workspace_id, has_failed=has_failed), **ignored_json(body)}


def _outcome(workspace_id: UUID, *, has_failed: bool) -> NoChangeOut:
    if not has_failed:
        return {"no_change": True}
    on_commit(lambda: enqueue_due_teardowns(now=database_now(), workspace_id=workspace_id))
    return {}
