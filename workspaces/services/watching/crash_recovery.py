"""A workspace whose process ended though nobody stopped it: taken offline with the evidence, restarted by its policy.

Silence is no such evidence, and neither is a backend that can't be asked.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from workspaces.access.masking import last_bytes, mask
from workspaces.lifecycle.failures import owner_of
from workspaces.lifecycle.transitions import (
    FailureCode,
    FailureSource,
    Phase,
    RestartPolicy,
    TeardownReason,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import Heartbeat, Launch, LaunchOutcome, Workspace
from workspaces.provisioners.base import DEAD_STATES, BackendState, Observation, describe_exit
from workspaces.services.core import launch_records
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
)
from workspaces.services.core.trees import TreeChanged, check_no_paused_ancestor, lock_in_tree
from workspaces.services.launching.relaunch import begin_launch
from workspaces.services.watching.liveness import LOSE

MAX_RESTARTS = 3
FIRST_DELAY_SECONDS = 10
# Online for this long, a workspace has recovered: its restarts are counted anew.
RECOVERED_AFTER = timedelta(minutes=10)
RESTART = find_transition(Verb.RESTART, WorkspaceStatus.PROVISIONING)


def restart_delay(attempt: int) -> timedelta:
    """Return how long to wait before this restart: 10 s before the first, twice as long before each further one."""
    return timedelta(seconds=FIRST_DELAY_SECONDS * 2 ** (attempt - 1))


@transaction.atomic
def mark_dead_offline(*, workspace_id: UUID, launch_id: UUID, observation: Observation, now: datetime) -> Workspace:
    """Take a workspace offline whose process is seen to have ended, and plan its restart where its policy says so.

    One that went offline by its silence before only gets the plan. Raises UnknownWorkspace or TransitionRefused.
    """
    workspace = lock_workspace(workspace_id)
    launch = Launch.objects.filter(pk=launch_id, teardown_at__isnull=True).first()
    if (
        launch is None
        or workspace.launch_id != launch_id
        or workspace.is_external
        or observation.state not in DEAD_STATES
    ):
        raise TransitionRefused(workspace, "this is no evidence about its present launch.")
    findings = _findings(workspace, launch, observation, now=now)
    if workspace.status == WorkspaceStatus.OFFLINE:
        Workspace.objects.filter(pk=workspace_id).update(**findings)
    else:
        check_source(workspace, LOSE)
        payload = _payload(workspace, findings, observation)
        transition(LOSE, [StatusChange(workspace=workspace, changes=findings, payload=payload)])
    # What its process left behind goes too, and its token with it.
    launch_records.schedule_teardown(Launch.objects.filter(pk=launch_id), at=now, reason=TeardownReason.LOST, now=now)
    return workspace


def _findings(workspace: Workspace, launch: Launch, observation: Observation, *, now: datetime) -> dict[str, Any]:
    attempts = 0 if _has_recovered(launch, now=now) else workspace.restart_attempts
    is_restarted = _calls_for_restart(workspace, observation) and attempts < MAX_RESTARTS
    seen = {"state": observation.state.value, "exit_code": observation.exit_code}
    return {
        "url": "",
        "restart_attempts": attempts,
        "restart_due_at": now + restart_delay(attempts + 1) if is_restarted else None,
        "failure_code": FailureCode.CRASHED,
        "failure_source": FailureSource.BOOTSTRAP_WATCHER,
        "failure_message": _message(workspace, observation, attempts=attempts),
        "failure_at": now,
        "failure_log_tail": last_bytes(mask(observation.log_tail, workspace_id=workspace.pk)),
        "failure_owner": owner_of(FailureCode.CRASHED, source=FailureSource.BOOTSTRAP_WATCHER, evidence=seen),
        "failure_phase": Phase.NONE,
        "failure_known": {"backend_state": seen["state"], "exit_code": seen["exit_code"]},
    }


def _has_recovered(launch: Launch, *, now: datetime) -> bool:
    """Tell whether the launch got online, and long enough ago."""
    is_recovered = launch.outcome == LaunchOutcome.ONLINE and launch.ended_at is not None
    return is_recovered and launch.ended_at <= now - RECOVERED_AFTER  # type: ignore[operator]


def _calls_for_restart(workspace: Workspace, observation: Observation) -> bool:
    return workspace.restart_policy == RestartPolicy.ON_FAILURE and not _is_clean_stop(observation)


def _is_clean_stop(observation: Observation) -> bool:
    return observation.state == BackendState.EXITED and observation.exit_code == 0


def _message(workspace: Workspace, observation: Observation, *, attempts: int) -> str:
    what = f"Its process {describe_exit(observation.exit_code)} after it was online."
    if observation.state == BackendState.MISSING:
        what = "Its backend no longer holds it, though it was online."
    if _is_clean_stop(observation):
        return f"{what} That is a clean stop, so nothing restarts it. Restart it when it is needed."
    if not _calls_for_restart(workspace, observation):
        return f"{what} Its policy restarts it never. Look at its log, then restart it."
    if attempts >= MAX_RESTARTS:
        return (
            f"{what} It was restarted {attempts} times already, so it is left alone. Look at its log, then restart it."
        )
    return f"{what} It is restarted, attempt {attempts + 1} of {MAX_RESTARTS}."


def _payload(workspace: Workspace, findings: Mapping[str, Any], observation: Observation) -> dict[str, Any]:
    beat = Heartbeat.objects.get(pk=workspace.pk)
    due = findings["restart_due_at"]
    return {
        "name": workspace.name,
        "last_heartbeat_at": beat.last_heartbeat_at.isoformat(),
        "state": observation.state.value,
        "exit_code": observation.exit_code,
        "error": findings["failure_message"],
        "owner": findings["failure_owner"].value,
        "log_tail": findings["failure_log_tail"],
        "restart_due_at": due.isoformat() if due else None,
    }


def restart_crashed(*, now: datetime) -> list[Workspace]:
    """Restart what its policy restarts by now; return these. The caller enqueues their launches on commit."""
    due = Workspace.objects.filter(restart_due_at__lte=now, status=WorkspaceStatus.OFFLINE)
    restarted = []
    for workspace_id in list(due.order_by("restart_due_at", "pk").values_list("pk", flat=True)):
        with suppress(TransitionRefused, TreeChanged):
            restarted.append(_restart(workspace_id, now=now))
    return restarted


@transaction.atomic
def _restart(workspace_id: UUID, *, now: datetime) -> Workspace:
    workspace = lock_in_tree(workspace_id)
    is_due = workspace.restart_due_at is not None and workspace.restart_due_at <= now
    if workspace.status != WorkspaceStatus.OFFLINE or not is_due:
        raise TransitionRefused(workspace, "its policy's restart is no longer due.")
    check_no_paused_ancestor(workspace)
    attempt = workspace.restart_attempts + 1
    told = {"restart": {"reason": workspace.failure_message, "attempt": attempt}}
    begin_launch(workspace, rule=RESTART, now=now, changes={"restart_attempts": attempt}, payload=told)
    return workspace
