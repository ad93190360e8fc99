"""What a launch is at its beginning and at its end: shared by the verbs that start or stop one."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Case, DateTimeField, JSONField, OuterRef, Subquery, Value, When

from workspaces.deadlines.policy import current_policy, effective_deadline, stored_deadline
from workspaces.lifecycle.transitions import Phase, TeardownReason
from workspaces.models import BackendKind, Heartbeat, Launch, LaunchOutcome, LaunchQuerySet, Workspace


def new_launch(workspace: Workspace, *, now: datetime) -> tuple[Launch, dict[str, Any]]:
    """Write the row of a new launch; return it with the workspace fields that begin it."""
    launch = Launch.objects.create(
        id=uuid.uuid4(),
        workspace=workspace,
        backend=workspace.backend,
        runtime=workspace.runtime,
        queued_at=now,
        # Nothing of ours runs for an external one: there is nothing to tear down.
        torn_down_at=now if workspace.backend == BackendKind.EXTERNAL else None,
    )
    return launch, new_launch_fields(workspace, launch_id=launch.pk, now=now)


def reset_heartbeats(workspaces: Sequence[Workspace]) -> None:
    """Listen to the agents of these workspaces' new launches, and to nobody else.

    What an earlier launch's agent said is nothing to judge the new one by; its spend is the workspace's.
    """
    present = Workspace.objects.filter(pk=OuterRef("pk")).values("launch_id")
    told_before = Heartbeat.objects.filter(pk__in=[workspace.pk for workspace in workspaces])
    told_before.update(launch_id=Subquery(present), **_UNHEARD)


_UNHEARD: dict[str, Any] = {
    "error_rate": 0,
    "sample_error": "",
    "active_tasks": 0,
    "idle_since": None,
    "uptime_seconds": 0,
    "current_task": "",
    "runtime_state": "",
    "runtime_metadata": Value({}, output_field=JSONField()),
}


def new_launch_fields(workspace: Workspace, *, launch_id: uuid.UUID, now: datetime) -> dict[str, Any]:
    """Return the fields of a workspace whose launch begins now: queued, with its deadline."""
    return {
        "launch_id": launch_id,
        "launch_timeout_seconds": workspace.provision_timeout_seconds or 0,
        "provisioning_started_at": now,
        "progress_at": now,
        "progress_step": "",
        **phase_fields(workspace, Phase.QUEUED, now=now),
    }


def phase_fields(workspace: Workspace, phase: Phase, *, now: datetime) -> dict[str, Any]:
    """Return the fields of a workspace that enters a phase of its provisioning now."""
    return {
        "phase": phase,
        "phase_entered_at": now,
        "deadline_at": stored_deadline(workspace, phase=phase, entered_at=now, progress_at=now),
    }


def provisioning_payload(workspace: Workspace, begun: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of WORKSPACE_PROVISIONING for a launch that begins with these fields."""
    launched = Workspace(phase_entered_at=begun["phase_entered_at"], deadline_at=begun["deadline_at"])
    deadline = effective_deadline(launched, policy=current_policy())
    return {
        "name": workspace.name,
        "tier": workspace.tier,
        "runtime": workspace.runtime,
        "parent_id": str(workspace.parent_id) if workspace.parent_id else None,
        "deadline_at": deadline.isoformat() if deadline else None,
    }


def end_current_launches(workspaces: Sequence[Workspace], *, reason: TeardownReason, now: datetime) -> None:
    """Withdraw what these workspaces' present launches have not reached, and mean their backend objects to stop now."""
    present = Launch.objects.filter(pk__in=[workspace.launch_id for workspace in workspaces])
    present.in_flight().update(outcome=LaunchOutcome.WITHDRAWN, ended_at=now)
    schedule_teardown(present, at=now, reason=reason, now=now)


def schedule_teardown(
    rows: LaunchQuerySet, *, at: datetime, reason: TeardownReason, now: datetime, is_forced: bool = False
) -> None:
    """Store the intent to stop these launches' backend objects. What never began to launch has none: it is gone.

    Called under the workspaces' locks, so that no launch begins in between.
    """
    rows.not_torn_down().update(**teardown_fields(at=at, reason=reason, now=now, is_forced=is_forced))


def teardown_fields(*, at: datetime, reason: TeardownReason, now: datetime, is_forced: bool = False) -> dict[str, Any]:
    """Return the fields of a standing launch whose backend object is to be stopped."""
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
    """Take back the intent to stop a launch's backend object, under its workspace's lock."""
    Launch.objects.filter(pk=launch_id, teardown_at__isnull=False).update(**NO_TEARDOWN_FIELDS)


NO_TEARDOWN_FIELDS: dict[str, Any] = {
    "teardown_at": None,
    "teardown_reason": TeardownReason.NONE,
    "teardown_is_forced": False,
}
