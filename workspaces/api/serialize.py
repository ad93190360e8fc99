"""A workspace as GET /workspaces shows it. Names and units are the wire contract's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import JSONObject
from ninja import Schema

from workspaces.deadlines.policy import Policy, boot_limit, effective_deadline, stop_deadline
from workspaces.models import Launch, Workspace, WorkspaceQuerySet


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


class StoppingOut(Schema):
    """What of it is still to be stopped: since when that is meant, and by when it should have been seen gone."""

    launch_id: UUID
    reason: str
    meant_at: datetime
    deadline_at: datetime
    attempts: int
    error: str


class WorkspaceOut(Schema):
    """Durations carry their unit; money is in cents."""

    id: UUID
    name: str
    role: str
    tier: int
    status: str
    runtime: str
    url: str
    agent_card: dict[str, Any]
    parent_id: UUID | None
    active_tasks: int
    uptime_seconds: int
    last_error_rate: float
    last_sample_error: str
    current_task: str
    budget_limit: int | None
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
    failure: FailureOut | None
    stopping: StoppingOut | None


def shown(rows: WorkspaceQuerySet) -> WorkspaceQuerySet:
    """Select with these rows, in one query, what an item shows beside them."""
    meant = Launch.objects.not_torn_down().filter(workspace=OuterRef("pk"), teardown_at__isnull=False)
    columns = {name: F(column) for name, column in _OF_A_STOP.items()}
    # The longest meant: a later launch waits for an earlier one.
    stop = meant.order_by("teardown_at", "pk").values(stop=JSONObject(**columns))[:1]
    return rows.select_related("heartbeat").annotate(stop=Subquery(stop))


_OF_A_STOP = {
    "launch_id": "id",
    "reason": "teardown_reason",
    "meant_at": "teardown_at",
    "attempts": "teardown_attempts",
    "error": "teardown_error",
}
# What an item shows under the name that the row gives it.
_OF_THE_ROW = (
    *("id", "name", "role", "tier", "status", "runtime", "url", "agent_card", "parent_id", "budget_limit"),
    *("created_at", "x", "y", "version", "phase", "progress_step", "failure"),
    *("hibernation_idle_minutes", "provision_timeout_seconds"),
    *("restart_policy", "restart_attempts", "restart_due_at", "paused_by"),
)
_OF_THE_HEARTBEAT = ("active_tasks", "uptime_seconds", "current_task", "monthly_spend")


def item(workspace: Workspace, *, policy: Policy, positions: Mapping[UUID, int]) -> dict[str, Any]:
    """Return the item of a workspace that was selected by `shown`."""
    heartbeat = workspace.heartbeat
    return {
        **{name: getattr(workspace, name) for name in _OF_THE_ROW},
        **{name: getattr(heartbeat, name) for name in _OF_THE_HEARTBEAT},
        "last_error_rate": heartbeat.error_rate,
        # Existing consoles look for a failure here.
        "last_sample_error": workspace.failure_message or heartbeat.sample_error,
        "provision_timeout_ms": _boot_limit_ms(workspace, policy=policy),
        "deadline_at": effective_deadline(workspace, policy=policy),
        "held": workspace.held_since is not None,
        "queue_position": positions.get(workspace.pk),
        "stopping": _stopping(workspace.stop),  # type: ignore[attr-defined]
    }


def _stopping(stop: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if stop is None else {**stop, "deadline_at": stop_deadline(datetime.fromisoformat(stop["meant_at"]))}


def _boot_limit_ms(workspace: Workspace, *, policy: Policy) -> int:
    limit = boot_limit(
        runtime=workspace.runtime,
        workspace_seconds=workspace.own_limit_seconds,
        template_seconds=workspace.template_timeout_seconds,
        policy=policy,
    )
    return limit.seconds * 1000
