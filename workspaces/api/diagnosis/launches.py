"""Launches: how each one went, how long its phases took, and why it failed."""

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field
from typing_extensions import TypedDict

from agent.texts import printable
from events.pages import MOST_ROWS, Paged, in_order, page_of
from events.parameters import Moment, Texts
from postgres.enum_text import one_of
from workspaces.access.authentication import Access, bearer_token
from workspaces.access.errors import RequestRefused
from workspaces.api.edits import find
from workspaces.api.router import router as workspaces
from workspaces.configuration.diagnostics import DiagnosticOut, without_findings_of_secrets
from workspaces.deadlines.policy import stop_deadline
from workspaces.lifecycle.failures import advice_for
from workspaces.lifecycle.transitions import FailureCode, Phase, TeardownReason
from workspaces.models import ApiScope, Launch, LaunchOutcome, LaunchQuerySet
from workspaces.provisioners.kinds import BackendKind

router = Router(tags=["launches"])

READ = Access(scopes=(ApiScope.READ,), permission="workspaces.view_launch")
READ_OWN = replace(READ, own_agent=True)


class LaunchesListed(Paged):
    """Which launches to list. Of a filter that is given several times, one suffices; all filters have to match.

    The header Link has the address of the next page.
    """

    outcome: list[LaunchOutcome] = Field([], max_length=10)
    failure_code: list[FailureCode] = Field([], max_length=50)
    runtime: Texts = []
    backend: list[BackendKind] = Field([], max_length=10)
    since: Moment | None = Field(None, description="those that began at this time or later; UTC if it names no zone")
    until: Moment | None = Field(None, description="those that began before this time")
    sort: Literal["queued_at", "-queued_at"] = "-queued_at"
    limit: int | None = Field(100, ge=1, le=MOST_ROWS)


class PhaseOut(TypedDict):
    """A phase that a launch has entered, and how long it took; null while it lasts."""

    phase: Phase
    entered_at: datetime
    left_at: datetime | None
    seconds: float | None


class StepOut(TypedDict):
    """The boot step that an agent reported last: when it began, and what the agent said of it."""

    step: str
    detail: str
    at: datetime | None


class LaunchFailureOut(TypedDict):
    """Why a launch failed. The message is empty if it failed before Slipway kept messages."""

    code: Annotated[str, one_of(FailureCode)]
    message: str
    advice: str


class TeardownOut(TypedDict):
    """The stop of a launch's process: why and when it was or will be sent, and when it was confirmed."""

    reason: Annotated[str, one_of(TeardownReason)]
    at: datetime | None
    deadline_at: datetime | None
    attempts: int
    error: str
    confirmed_at: datetime | None


class LaunchOut(TypedDict):
    """A launch. `warnings` are what its preflight found that is probably not meant, of the config and of its variables.

    Those about variables are left out for users who may not view secrets.

    The first `boot_log_bytes` of its log are boot output; null if it was not online, or that is not known.

    `undone_failure_code` is the passed deadline that a late registration undid.
    """

    id: UUID
    workspace_id: UUID
    workspace_name: str
    is_current: bool
    backend: Annotated[str, one_of(BackendKind)]
    runtime: str
    outcome: Annotated[str, one_of(LaunchOutcome)]
    queued_at: datetime
    ended_at: datetime | None
    phases: list[PhaseOut]
    last_step: StepOut | None
    boot_log_bytes: int | None
    evidence: dict[str, Any]
    warnings: list[DiagnosticOut]
    failure: LaunchFailureOut | None
    undone_failure_code: Annotated[str, one_of(FailureCode)]
    teardown: TeardownOut | None


@router.get("", auth=READ)
def list_launches(request: HttpRequest, response: HttpResponse, wanted: Query[LaunchesListed]) -> list[LaunchOut]:
    """List the launches of all workspaces, the newest first: `?runtime=hermes&outcome=failed&since=2026-11-22`."""
    return listed(Launch.objects.all(), wanted, request=request, response=response)


@router.get("/{launch_id}", auth=READ)
def get_launch(request: HttpRequest, launch_id: UUID) -> LaunchOut:
    """Show one launch."""
    row = Launch.objects.select_related("workspace").filter(pk=launch_id).first()
    if row is None:
        raise RequestRefused(HTTPStatus.NOT_FOUND, f"There is no launch {launch_id}.", code="not_found")
    return launch_json(row, sees_secrets=sees_secrets(request))


@workspaces.get("/{workspace_id}/launches", auth=READ_OWN)
def list_launches_of_workspace(
    request: HttpRequest, response: HttpResponse, workspace_id: UUID, wanted: Query[LaunchesListed]
) -> list[LaunchOut]:
    """List a workspace's launches, the newest first. Those of a removed one are there until it is deleted."""
    rows = Launch.objects.filter(workspace=find(workspace_id))
    return listed(rows, wanted, request=request, response=response)


def listed(
    rows: LaunchQuerySet, wanted: LaunchesListed, *, request: HttpRequest, response: HttpResponse
) -> list[LaunchOut]:
    """Return one page of the launches that match every filter."""
    for name in ("outcome", "failure_code", "runtime", "backend"):
        if values := getattr(wanted, name):
            rows = rows.filter(**{f"{name}__in": values})
    if wanted.since:
        rows = rows.filter(queued_at__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(queued_at__lt=wanted.until)
    ordered = in_order(rows.select_related("workspace"), wanted)
    rows_of_page, sees = page_of(ordered, wanted, request=request, response=response), sees_secrets(request)
    return [launch_json(row, sees_secrets=sees) for row in rows_of_page]


def sees_secrets(request: HttpRequest) -> bool:
    """Return whether the caller may know which secrets there are: a user who may list them, or the holder of a token.

    The scope that lists secrets is the one that reads launches, and an agent has its secrets.
    """
    return bearer_token(request) is not None or request.user.has_perm("workspaces.view_secret")


def launch_json(launch: Launch, *, sees_secrets: bool) -> LaunchOut:
    """Return the JSON of a launch that was selected with its workspace."""
    evidence, code = dict(launch.evidence), launch.failure_code
    if tail := evidence.get("log_tail"):
        evidence["log_tail"] = printable(str(tail))
    return {
        "id": launch.pk,
        "workspace_id": launch.workspace_id,
        "workspace_name": launch.workspace.name,
        "is_current": launch.pk == launch.workspace.launch_id,
        "backend": launch.backend,
        "runtime": launch.runtime,
        "outcome": launch.outcome,
        "queued_at": launch.queued_at,
        "ended_at": launch.ended_at,
        "phases": [
            {"phase": each.phase, "entered_at": each.entered_at, "left_at": each.left_at, "seconds": each.seconds}
            for each in launch.phases
        ],
        "last_step": step_json(launch) if launch.last_step else None,
        "boot_log_bytes": launch.boot_log_bytes,
        "evidence": evidence,
        "warnings": launch.warnings if sees_secrets else without_findings_of_secrets(launch.warnings),
        "failure": {"code": code, "message": launch.failure_message, "advice": advice_for(code)} if code else None,
        "undone_failure_code": launch.false_flip_code,
        "teardown": teardown_json(launch) if launch.teardown_at or launch.torn_down_at else None,
    }


def step_json(launch: Launch) -> StepOut:
    """Return the JSON of the boot step that a launch's agent reported last."""
    return {"step": launch.last_step, "detail": launch.last_step_detail, "at": launch.last_step_at}


def teardown_json(launch: Launch) -> TeardownOut:
    """Return the JSON of the stop of a launch's process."""
    return {
        "reason": launch.teardown_reason,
        "at": launch.teardown_at,
        "deadline_at": stop_deadline(launch.teardown_at) if launch.teardown_at else None,
        "attempts": launch.teardown_attempts,
        "error": launch.teardown_error,
        "confirmed_at": launch.torn_down_at,
    }
