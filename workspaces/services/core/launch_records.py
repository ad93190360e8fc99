"""The beginning and the end of a launch, shared by all verbs that start or stop one."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Case, DateTimeField, JSONField, OuterRef, Subquery, Value, When

from workspaces.deadlines.policy import current_policy, effective_deadline, stored_deadline
from workspaces.lifecycle.transitions import Phase, TeardownReason
from workspaces.models import BackendKind, Heartbeat, Launch, LaunchOutcome, LaunchQuerySet, Workspace

NO_TEARDOWN_FIELDS: dict[str, Any] = {
    "teardown_at": None,
    "teardown_reason": TeardownReason.NONE,
    "teardown_is_forced": False,
}
# A heartbeat's values before the agent has sent one. Its `monthly_spend` belongs to the workspace and stays.
_NO_HEARTBEAT_FIELDS: dict[str, Any] = {
    "error_rate": 0,
    "sample_error": "",
    "active_tasks": 0,
    "idle_since": None,
    "uptime_seconds": 0,
    "current_task": "",
    "runtime_state": "",
    "runtime_metadata": Value({}, output_field=JSONField()),
}


def new_launch(workspace: Workspace, *, now: datetime) -> tuple[Launch, dict[str, Any]]:
    """Insert a launch in flight. Return it with the workspace's fields as they are when it begins: queued."""
    launch = Launch.objects.create(
        id=uuid.uuid4(),
        workspace=workspace,
        backend=workspace.backend,
        runtime=workspace.runtime,
        queued_at=now,
        # Slipway runs nothing for an external workspace, so there is nothing to tear down.
        torn_down_at=now if workspace.backend == BackendKind.EXTERNAL else None,
    )
    fields = {
        "launch_id": launch.pk,
        "launch_timeout_seconds": workspace.provision_timeout_seconds or 0,
        "provisioning_started_at": now,
        "progress_at": now,
        "progress_step": "",
        "progress_detail": "",
        **phase_fields(workspace, Phase.QUEUED, now=now),
    }
    return launch, fields


def phase_fields(workspace: Workspace, phase: Phase, *, now: datetime) -> dict[str, Any]:
    """Return the fields of a workspace that enters a phase of its provisioning now, with the phase's deadline."""
    return {
        "phase": phase,
        "phase_entered_at": now,
        "deadline_at": stored_deadline(workspace, phase=phase, entered_at=now, progress_at=now),
    }


def provisioning_payload(workspace: Workspace, launch_fields: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of WORKSPACE_PROVISIONING for a launch that begins with these fields of `new_launch`."""
    launched = Workspace(phase_entered_at=launch_fields["phase_entered_at"], deadline_at=launch_fields["deadline_at"])
    deadline = effective_deadline(launched, policy=current_policy())
    return {
        "name": workspace.name,
        "tier": workspace.tier,
        "runtime": workspace.runtime,
        "parent_id": str(workspace.parent_id) if workspace.parent_id else None,
        "deadline_at": deadline.isoformat() if deadline else None,
    }


def reset_heartbeats(workspaces: Sequence[Workspace]) -> None:
    """Bind the heartbeat rows of these workspaces to their new launches and clear what earlier agents reported."""
    launch_id = Workspace.objects.filter(pk=OuterRef("pk")).values("launch_id")
    heartbeats = Heartbeat.objects.filter(pk__in=[workspace.pk for workspace in workspaces])
    heartbeats.update(launch_id=Subquery(launch_id), **_NO_HEARTBEAT_FIELDS)


def end_current_launches(workspaces: Sequence[Workspace], *, reason: TeardownReason, now: datetime) -> None:
    """Withdraw these workspaces' current launches if they are in flight, and schedule their teardown for now."""
    current = Launch.objects.filter(pk__in=[workspace.launch_id for workspace in workspaces])
    current.in_flight().update(outcome=LaunchOutcome.WITHDRAWN, ended_at=now)
    schedule_teardown(current, at=now, reason=reason, now=now)


def schedule_teardown(
    launches: LaunchQuerySet, *, at: datetime, reason: TeardownReason, now: datetime, is_forced: bool = False
) -> None:
    """Store when these launches' backend objects are to be stopped, except for those already confirmed stopped.

    Call it under the workspaces' locks, so that no worker begins one of the launches in between.
    """
    launches.not_torn_down().update(**teardown_fields(at=at, reason=reason, now=now, is_forced=is_forced))


def teardown_fields(*, at: datetime, reason: TeardownReason, now: datetime, is_forced: bool = False) -> dict[str, Any]:
    """Return the fields of a launch that is to be stopped. One that never began has no object: it is torn down now."""
    never_begun = When(launching_at__isnull=True, then=Value(now, output_field=DateTimeField()))
    return {
        "teardown_at": at,
        "teardown_reason": reason,
        "teardown_is_forced": is_forced,
        "teardown_attempts": 0,
        "teardown_error": "",
        "torn_down_at": Case(never_begun, default=None),
    }


def cancel_teardown(launch_id: uuid.UUID) -> None:
    """Cancel the scheduled stop of a launch, under its workspace's lock."""
    Launch.objects.filter(pk=launch_id, teardown_at__isnull=False).update(**NO_TEARDOWN_FIELDS)
