"""The JSON of a workspace. Names and units are those of the wire contract."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Case, DateField, F, OuterRef, Subquery, TextField, When
from django.db.models.functions import Cast, JSONObject, Now, TruncMonth
from typing_extensions import TypedDict

from postgres.enum_text import one_of
from workspaces.deadlines.policy import Policy, effective_deadline, phase_limit, stop_deadline
from workspaces.lifecycle.transitions import (
    BudgetAction,
    Phase,
    RestartPolicy,
    RuntimeState,
    TeardownReason,
    WorkspaceStatus,
)
from workspaces.models import BackendKind, FailureOut, Launch, Workspace, WorkspaceQuerySet
from workspaces.provisioners.base import BackendState
from workspaces.services.core.guarded_rows import RowGuard


class CrashLoopOut(TypedDict):
    """It crashes again and again: how often it has, what its restart policy does, and how the last process ended."""

    count: int
    attempt: int
    most_attempts: int
    next_attempt_at: datetime | None
    gave_up: bool
    state: Annotated[str, one_of(BackendState)]
    exit_code: int | None
    at: datetime
    log_tail: str


class StoppingOut(TypedDict):
    """A launch that is to be stopped: since when, and when its backend must have confirmed the stop."""

    launch_id: UUID
    reason: Annotated[str, one_of(TeardownReason)]
    meant_at: datetime
    deadline_at: datetime
    attempts: int
    error: str


class StoredWorkspaceOut(TypedDict):
    """The fields of a workspace that are stored with it, which can always be shown."""

    id: UUID
    name: str
    role: str
    tier: int
    status: Annotated[str, one_of(WorkspaceStatus)]
    runtime: str
    template: str
    model: str
    backend: Annotated[str, one_of(BackendKind)]
    labels: dict[str, Any]
    url: str
    agent_card: dict[str, Any] | None
    parent_id: UUID | None
    secret_sets: list[str]
    needs_restart: bool
    budget_limit: int | None
    budget_action: Annotated[str, one_of(BudgetAction)]
    created_at: datetime
    x: float
    y: float
    version: int
    phase: Annotated[str, one_of(Phase)]
    progress_step: str
    progress_detail: str
    held: bool
    hibernation_idle_minutes: int | None
    provision_timeout_seconds: int | None
    restart_policy: Annotated[str, one_of(RestartPolicy)]
    restart_attempts: int
    restart_due_at: datetime | None
    paused_by: UUID | None


class WorkspaceOut(StoredWorkspaceOut):
    """A workspace. Names of durations end in their unit; money is in cents."""

    active_tasks: int
    uptime_seconds: int
    last_error_rate: float
    last_sample_error: str
    current_task: str
    runtime_state: Annotated[str, one_of(RuntimeState)]
    idle_timeout_seconds: float | None
    capabilities: dict[str, bool]
    monthly_spend: int
    provision_timeout_ms: int
    deadline_at: datetime | None
    queue_position: int | None
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
# Reading them would take a third of the time of a long list.
_NOT_SHOWN = (
    *("config", "kept_configuration", "budget_told_percent", "budget_told_month", "provisioning_started_at"),
    *("progress_at", "files_deleted_at", "launch_id"),
)
# Beside the workspace instead of in an instance of their own, for the same reason.
_OF_HEARTBEAT = ("active_tasks", "uptime_seconds", "error_rate", "sample_error", "current_task", "runtime_state")


def select_for_json(workspaces: WorkspaceQuerySet) -> WorkspaceQuerySet:
    """Select what `workspace_json` needs beside the workspaces, in the same query."""
    launches = Launch.objects.not_torn_down().filter(workspace=OuterRef("pk"), teardown_at__isnull=False)
    columns = {name: F(column) for name, column in _STOPPING_COLUMNS.items()}
    # The earliest, because a later launch waits for an earlier one.
    stopping = launches.order_by("teardown_at", "pk").values(stopping=JSONObject(**columns))[:1]
    month = Cast(TruncMonth(Now(), tzinfo=ZoneInfo(settings.BUDGET_TIME_ZONE)), DateField())
    spent = Case(When(heartbeat__spend_month=month, then=F("heartbeat__monthly_spend")), default=0)
    reported = {name: F(f"heartbeat__{name}") for name in _OF_HEARTBEAT}
    metadata = Cast("heartbeat__runtime_metadata", TextField())
    rows = workspaces.annotate(stopping=Subquery(stopping), spent=spent, metadata=metadata, **reported)
    return rows.defer(*_NOT_SHOWN)


def workspace_json(workspace: Workspace, *, policy: Policy, positions: Mapping[UUID, int]) -> WorkspaceOut:
    """Return the JSON of a workspace from `select_for_json`. `positions` are the places in the launch queue.

    Never raises, so that a list has the others: of this one it has what is stored, and `last_sample_error` says why.
    """
    with suppress(Exception):
        return whole_json(workspace, policy=policy, positions=positions)
    # Once more with a guard, which takes as long as all the rest: it logs what is wrong.
    guard = RowGuard[Workspace](what="It could not be shown")
    with guard.handling(workspace, is_read_only=True):
        return whole_json(workspace, policy=policy, positions=positions)
    return {
        **stored_json(workspace),
        "active_tasks": 0,
        "uptime_seconds": 0,
        "last_error_rate": 0,
        "last_sample_error": guard.failures[0].text,
        "current_task": "",
        "runtime_state": "",
        "idle_timeout_seconds": None,
        "capabilities": {},
        "monthly_spend": 0,
        "provision_timeout_ms": 0,
        "deadline_at": None,
        "queue_position": None,
        "crash_loop": None,
        "failure": None,
        "stopping": None,
    }


def whole_json(workspace: Workspace, *, policy: Policy, positions: Mapping[UUID, int]) -> WorkspaceOut:
    """Return every field of a workspace; see workspace_json."""
    # What select_for_json adds.
    added = vars(workspace)
    if added["active_tasks"] is None:
        raise LookupError("It has no row for its heartbeats.")
    metadata = parsed_metadata(added["metadata"])
    return {
        **stored_json(workspace),
        "active_tasks": added["active_tasks"],
        "uptime_seconds": added["uptime_seconds"],
        "last_error_rate": added["error_rate"],
        # Existing consoles look for a failure here.
        "last_sample_error": workspace.failure_message or added["sample_error"],
        "current_task": added["current_task"],
        "runtime_state": added["runtime_state"],
        "idle_timeout_seconds": metadata.get("idle_timeout_seconds"),
        "capabilities": metadata.get("capabilities", {}),
        "monthly_spend": added["spent"],
        "provision_timeout_ms": phase_limit(workspace, phase=Phase.BOOTING, policy=policy).seconds * 1000,
        "deadline_at": effective_deadline(workspace, policy=policy),
        "queue_position": positions.get(workspace.pk),
        "crash_loop": crash_loop_json(workspace.crash_loop) if workspace.crash_loop else None,
        "failure": workspace.failure,
        "stopping": stopping_json(added["stopping"]) if added["stopping"] else None,
    }


@lru_cache(maxsize=128)
def parsed_metadata(metadata: str) -> Mapping[str, Any]:
    """Return what an agent reported of itself: agents of one runtime report the same, which is parsed once."""
    return dict(json.loads(metadata))


def stored_json(workspace: Workspace) -> StoredWorkspaceOut:
    """Return the fields of a workspace that are stored with it."""
    return {
        "id": workspace.pk,
        "name": workspace.name,
        "role": workspace.role,
        "tier": workspace.tier,
        "status": workspace.status,
        "runtime": workspace.runtime,
        "template": workspace.template,
        "model": workspace.model,
        "backend": workspace.backend,
        "labels": workspace.labels,
        "url": workspace.url,
        # Existing consoles read null as "no agent has sent one".
        "agent_card": workspace.agent_card or None,
        "parent_id": workspace.parent_id,
        "secret_sets": workspace.secret_sets,
        "needs_restart": workspace.needs_restart,
        "budget_limit": workspace.budget_limit,
        "budget_action": workspace.budget_action,
        "created_at": workspace.created_at,
        "x": workspace.x,
        "y": workspace.y,
        "version": workspace.version,
        "phase": workspace.phase,
        "progress_step": workspace.progress_step,
        "progress_detail": workspace.progress_detail,
        "held": workspace.held_since is not None,
        "hibernation_idle_minutes": workspace.hibernation_idle_minutes,
        "provision_timeout_seconds": workspace.provision_timeout_seconds,
        "restart_policy": workspace.restart_policy,
        "restart_attempts": workspace.restart_attempts,
        "restart_due_at": workspace.restart_due_at,
        "paused_by": workspace.paused_by,
    }


def crash_loop_json(loop: Mapping[str, Any]) -> CrashLoopOut:
    """Return a crash loop as it is stored, with moments instead of their texts."""
    due = loop["next_attempt_at"]
    return {
        "count": loop["count"],
        "attempt": loop["attempt"],
        "most_attempts": loop["most_attempts"],
        "next_attempt_at": datetime.fromisoformat(due) if due else None,
        "gave_up": loop["gave_up"],
        "state": loop["state"],
        "exit_code": loop["exit_code"],
        "at": datetime.fromisoformat(loop["at"]),
        "log_tail": loop["log_tail"],
    }


def stopping_json(launch: Mapping[str, Any]) -> StoppingOut:
    """Return a launch that is to be stopped, from its _STOPPING_COLUMNS."""
    meant_at = datetime.fromisoformat(launch["meant_at"])
    return {
        "launch_id": UUID(launch["launch_id"]),
        "reason": launch["reason"],
        "meant_at": meant_at,
        "deadline_at": stop_deadline(meant_at),
        "attempts": launch["attempts"],
        "error": launch["error"],
    }
