"""The JSON of a workspace. Names and units are those of the wire contract."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Case, DateField, F, OuterRef, Subquery, When
from django.db.models.functions import Cast, JSONObject, Now, TruncMonth
from ninja import Schema

from workspaces.deadlines.policy import Policy, effective_deadline, phase_limit, stop_deadline
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Launch, Workspace, WorkspaceQuerySet
from workspaces.services.core.guarded_rows import RowGuard


class FailureOut(Schema):
    """Why the last launch failed."""

    code: str
    message: str
    source: str
    at: datetime
    log_tail: str
    owner: str
    phase: str
    known: dict[str, Any]
    advice: str


class CrashLoopOut(Schema):
    """It crashes again and again: how often it has, what its restart policy does, and how the last process ended."""

    count: int
    attempt: int
    most_attempts: int
    next_attempt_at: datetime | None
    gave_up: bool
    state: str
    exit_code: int | None
    at: datetime
    log_tail: str


class StoppingOut(Schema):
    """A launch that is to be stopped: since when, and when its backend must have confirmed the stop."""

    launch_id: UUID
    reason: str
    meant_at: datetime
    deadline_at: datetime
    attempts: int
    error: str


class WorkspaceOut(Schema):
    """A workspace. Names of durations end in their unit; money is in cents."""

    id: UUID
    name: str
    role: str
    tier: int
    status: str
    runtime: str
    template: str
    model: str
    backend: str
    labels: dict[str, Any]
    url: str
    agent_card: dict[str, Any] | None
    parent_id: UUID | None
    active_tasks: int
    uptime_seconds: int
    last_error_rate: float
    last_sample_error: str
    current_task: str
    secret_sets: list[str]
    needs_restart: bool
    budget_limit: int | None
    budget_action: str
    monthly_spend: int
    provision_timeout_ms: int
    created_at: datetime
    x: float
    y: float
    version: int
    phase: str
    progress_step: str
    deadline_at: datetime | None
    held: bool
    queue_position: int | None
    hibernation_idle_minutes: int | None
    provision_timeout_seconds: int | None
    restart_policy: str
    restart_attempts: int
    restart_due_at: datetime | None
    paused_by: UUID | None
    crash_loop: CrashLoopOut | None
    failure: FailureOut | None
    stopping: StoppingOut | None


# The key in `stopping`, and the column of the launch.
_STOPPING_COLUMNS = {
    "launch_id": "id",
    "reason": "teardown_reason",
    "meant_at": "teardown_at",
    "attempts": "teardown_attempts",
    "error": "teardown_error",
}
# These keys have the names of the workspace's attributes.
_WORKSPACE_FIELDS = (
    *("id", "name", "role", "tier", "status", "runtime", "template", "model", "backend", "labels", "url", "parent_id"),
    *("budget_limit", "budget_action", "secret_sets", "needs_restart"),
    *("created_at", "x", "y", "version", "phase", "progress_step", "failure"),
    *("hibernation_idle_minutes", "provision_timeout_seconds"),
    *("restart_policy", "restart_attempts", "restart_due_at", "paused_by"),
)
_read_fields = attrgetter(*_WORKSPACE_FIELDS)
# Reading them would take a third of the time of a long list.
_NOT_SHOWN = (
    *("config", "kept_configuration", "budget_told_percent", "budget_told_month", "provisioning_started_at"),
    *("progress_at", "files_deleted_at"),
    *("heartbeat__launch_id", "heartbeat__last_heartbeat_at", "heartbeat__idle_since", "heartbeat__monthly_spend"),
    *("heartbeat__spend_month", "heartbeat__runtime_state", "heartbeat__runtime_metadata"),
)
_CERTAIN = ("id", "name", "status", "runtime", "backend", "version", "parent_id", "created_at")
# What the JSON of a workspace has in place of what could not be read.
_UNCERTAIN: dict[str, Any] = {
    **dict.fromkeys(("role", "template", "model", "url", "current_task", "phase", "progress_step"), ""),
    **dict.fromkeys(("restart_policy", "budget_action"), ""),
    **dict.fromkeys(("tier", "active_tasks", "uptime_seconds", "last_error_rate", "monthly_spend", "x", "y"), 0),
    **dict.fromkeys(("provision_timeout_ms", "restart_attempts"), 0),
    **dict.fromkeys(("budget_limit", "deadline_at", "queue_position", "hibernation_idle_minutes", "paused_by")),
    **dict.fromkeys(("provision_timeout_seconds", "restart_due_at", "failure", "stopping", "crash_loop")),
    "labels": {},
    "agent_card": None,
    "held": False,
    "needs_restart": False,
    "secret_sets": [],
}
_HEARTBEAT_FIELDS = ("active_tasks", "uptime_seconds", "current_task")


def select_for_json(workspaces: WorkspaceQuerySet) -> WorkspaceQuerySet:
    """Select what `workspace_json` needs beside the workspaces, in the same query."""
    launches = Launch.objects.not_torn_down().filter(workspace=OuterRef("pk"), teardown_at__isnull=False)
    columns = {name: F(column) for name, column in _STOPPING_COLUMNS.items()}
    # The earliest, because a later launch waits for an earlier one.
    stopping = launches.order_by("teardown_at", "pk").values(stopping=JSONObject(**columns))[:1]
    month = Cast(TruncMonth(Now(), tzinfo=ZoneInfo(settings.BUDGET_TIME_ZONE)), DateField())
    spent = Case(When(heartbeat__spend_month=month, then=F("heartbeat__monthly_spend")), default=0)
    rows = workspaces.select_related("heartbeat").annotate(stopping=Subquery(stopping), spent=spent)
    return rows.defer(*_NOT_SHOWN)


def workspace_json(workspace: Workspace, *, policy: Policy, positions: Mapping[UUID, int]) -> dict[str, Any]:
    """Return the JSON of a workspace from `select_for_json`. `positions` are the places in the launch queue.

    Never raises, so that a list has the others: of this one it has what is certain, and `last_sample_error` says so.
    """
    with suppress(Exception):
        return whole_json(workspace, policy=policy, positions=positions)
    # Once more with a guard, which takes as long as all the rest: it logs what is wrong.
    guard = RowGuard[Workspace](what="It could not be shown")
    with guard.handling(workspace, is_read_only=True):
        return whole_json(workspace, policy=policy, positions=positions)
    certain = {name: getattr(workspace, name) for name in _CERTAIN}
    return {**_UNCERTAIN, **certain, "last_sample_error": guard.failures[0].text}


def whole_json(workspace: Workspace, *, policy: Policy, positions: Mapping[UUID, int]) -> dict[str, Any]:
    """Return every field of a workspace; see workspace_json."""
    heartbeat, stopping = workspace.heartbeat, workspace.stopping  # type: ignore[attr-defined]
    loop = workspace.crash_loop or None
    if stopping is not None:
        meant_at = datetime.fromisoformat(stopping["meant_at"])
        stopping = {**stopping, "meant_at": meant_at, "deadline_at": stop_deadline(meant_at)}
    if loop:
        # The database keeps them as text.
        times = {name: datetime.fromisoformat(loop[name]) for name in ("next_attempt_at", "at") if loop[name]}
        loop = {**loop, **times}
    limit = phase_limit(workspace, phase=Phase.BOOTING, policy=policy)
    return {
        **dict(zip(_WORKSPACE_FIELDS, _read_fields(workspace), strict=True)),
        # Existing consoles read null as "no agent has sent one".
        "agent_card": workspace.agent_card or None,
        **{name: getattr(heartbeat, name) for name in _HEARTBEAT_FIELDS},
        "monthly_spend": workspace.spent,  # type: ignore[attr-defined]
        "last_error_rate": heartbeat.error_rate,
        # Existing consoles look for a failure here.
        "last_sample_error": workspace.failure_message or heartbeat.sample_error,
        "provision_timeout_ms": limit.seconds * 1000,
        "deadline_at": effective_deadline(workspace, policy=policy),
        "held": workspace.held_since is not None,
        "queue_position": positions.get(workspace.pk),
        "stopping": stopping,
        "crash_loop": loop,
    }
