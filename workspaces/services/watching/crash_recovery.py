"""Take workspaces offline whose process ended by itself, and restart them if their policy says so.

Only a backend's answer counts as evidence: neither silence nor a backend that can't be asked does.

A workspace that crashes again after such a restart, before it was online for ten minutes, is in a crash loop. The loop
stands on the row through all restarts. Its events say so, so that channels that people read tell only of its end.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from agent.texts import printable
from events import outbox
from workspaces.access.masking import masker_of
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
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.core.lineage import event_subjects
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
)
from workspaces.services.core.trees import TreeChanged, check_no_paused_ancestor, lock_in_tree
from workspaces.services.launching.mark_online import loop_facts
from workspaces.services.launching.relaunch import begin_launch
from workspaces.services.watching.liveness import LOSE

MAX_RESTARTS = 3
FIRST_DELAY_SECONDS = 10
# A workspace that was online for this long has recovered, so its restarts are counted from zero again.
RECOVERED_AFTER = timedelta(minutes=10)
RESTART = find_transition(Verb.RESTART, WorkspaceStatus.PROVISIONING)


def restart_delay(attempt: int) -> timedelta:
    """Return how long to wait before restart number `attempt`: 10 s before the first, then twice as long each time."""
    return timedelta(seconds=FIRST_DELAY_SECONDS * 2 ** (attempt - 1))


@transaction.atomic
def mark_dead_offline(*, workspace_id: UUID, launch_id: UUID, observation: Observation, now: datetime) -> Workspace:
    """Take a workspace offline whose process has ended, and schedule its restart if its policy says so.

    If the workspace is offline already, because it was silent, only the failure and the restart are stored. Raises
    UnknownWorkspace, or TransitionRefused if the observation says nothing about the current launch.
    """
    # Before the lock, since a long log takes a while, and heartbeats wait for the row.
    observation = replace(observation, log_tail=masker_of(workspace_id).mask_log_tail(observation.log_tail))
    workspace = lock_workspace(workspace_id)
    launch = Launch.objects.filter(pk=launch_id, teardown_at__isnull=True).first()
    is_current = launch is not None and workspace.launch_id == launch_id and not workspace.is_external
    if launch is None or not is_current or observation.state not in DEAD_STATES:
        raise TransitionRefused(workspace, "the observation says nothing about its current launch.")
    changes = _failure_fields(workspace, launch, observation, now=now)
    if workspace.status == WorkspaceStatus.OFFLINE:
        Workspace.objects.filter(pk=workspace_id).update(**changes)
        if changes["crash_loop"].get("gave_up"):
            # Told here, since the event of the silence could not know it.
            _tell_end_of_loop(workspace, _payload(workspace, observation, changes))
    else:
        check_source(workspace, LOSE)
        payload = _payload(workspace, observation, changes)
        transition(LOSE, [StatusChange(workspace=workspace, changes=changes, payload=payload)])
    # Remove what the process left behind, and the launch's token.
    launch_records.schedule_teardown(Launch.objects.filter(pk=launch_id), at=now, reason=TeardownReason.LOST, now=now)
    return workspace


def _payload(workspace: Workspace, observation: Observation, changes: Mapping[str, Any]) -> dict[str, Any]:
    due, loop = changes["restart_due_at"], changes["crash_loop"]
    return {
        "name": workspace.name,
        "last_heartbeat_at": Heartbeat.objects.get(pk=workspace.pk).last_heartbeat_at.isoformat(),
        "state": observation.state.value,
        "exit_code": observation.exit_code,
        "error": changes["failure_message"],
        "owner": changes["failure_owner"].value,
        "log_tail": printable(changes["failure_log_tail"]),
        "restart_due_at": due.isoformat() if due else None,
        **({"code": FailureCode.CRASH_LOOP.value, "crash_loop": loop_facts(loop)} if loop else {}),
    }


def _tell_end_of_loop(workspace: Workspace, payload: Mapping[str, Any]) -> None:
    event = outbox.NewEvent(
        event_type=LOSE.event,
        workspace_id=workspace.pk,
        version=workspace.version,
        payload=payload,
        subject=event_subjects([workspace])[0],
    )
    outbox.record([event])


def _failure_fields(workspace: Workspace, launch: Launch, observation: Observation, *, now: datetime) -> dict[str, Any]:
    online_since = launch.ended_at if launch.outcome == LaunchOutcome.ONLINE else None
    has_recovered = online_since is not None and online_since <= now - RECOVERED_AFTER
    attempts = 0 if has_recovered else workspace.restart_attempts
    is_restarted, message = _decide_restart(workspace, observation, attempts=attempts)
    seen = {"state": observation.state.value, "exit_code": observation.exit_code}
    due = now + restart_delay(attempts + 1) if is_restarted else None
    loop = {
        "count": attempts + 1,
        "attempt": attempts + 1 if is_restarted else attempts,
        "most_attempts": MAX_RESTARTS,
        "next_attempt_at": due.isoformat() if due else None,
        "gave_up": not is_restarted,
        **seen,
        "at": now.isoformat(),
        "log_tail": printable(observation.log_tail),
    }
    is_loop = attempts > 0 and not is_clean_stop(observation)
    code = FailureCode.CRASH_LOOP if is_loop else FailureCode.CRASHED
    return {
        "url": "",
        "restart_attempts": attempts,
        "restart_due_at": due,
        "crash_loop": loop if is_loop else {},
        "failure_code": code,
        "failure_source": FailureSource.BOOTSTRAP_WATCHER,
        "failure_message": message,
        "failure_at": now,
        "failure_log_tail": observation.log_tail,
        "failure_owner": owner_of(code, source=FailureSource.BOOTSTRAP_WATCHER, evidence=seen),
        "failure_phase": Phase.NONE,
        "failure_known": {"backend_state": seen["state"], "exit_code": seen["exit_code"]},
    }


def _decide_restart(workspace: Workspace, observation: Observation, *, attempts: int) -> tuple[bool, str]:
    """Return whether the restart policy restarts this workspace, and explain it in the failure's message."""
    what = f"Its process {describe_exit(observation.exit_code)} after it was online."
    if observation.state == BackendState.MISSING:
        what = "Its backend no longer holds it, though it was online."
    if is_clean_stop(observation):
        return False, f"{what} That is a clean stop, so nothing restarts it. Restart it when it is needed."
    if attempts:
        what = f"It is in a crash loop: {attempts + 1} crashes. {what}"
    gives_up = "So its restart policy gave up: " if attempts else ""
    if workspace.restart_policy != RestartPolicy.ON_FAILURE:
        return False, f"{what} {gives_up}Its restart policy is `never`. Look at its log, then restart it."
    if attempts >= MAX_RESTARTS:
        limit = f"it was restarted {attempts} times already, so it is not restarted again."
        return False, f"{what} {gives_up}{limit} Look at its log, then restart it."
    return True, f"{what} It is restarted, attempt {attempts + 1} of {MAX_RESTARTS}."


def is_clean_stop(observation: Observation) -> bool:
    """Return whether the process ended by itself with status 0, which is no crash."""
    return observation.state == BackendState.EXITED and observation.exit_code == 0


@transaction.atomic
def forget_ended_loops(*, now: datetime) -> int:
    """Forget the crash loops of workspaces that have been online for long enough; return their number.

    What another transaction has locked is left for the next time.
    """
    recovered = Launch.objects.current().filter(outcome=LaunchOutcome.ONLINE, ended_at__lte=now - RECOVERED_AFTER)
    loops = Workspace.objects.expects_heartbeats().exclude(crash_loop={})
    ended = loops.filter(launch_id__in=recovered.values("pk"))
    free = list(ended.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
    return Workspace.objects.filter(pk__in=free).update(crash_loop={}, restart_attempts=0)


def restart_crashed(*, now: datetime) -> list[Workspace]:
    """Begin the restarts that are due and return their workspaces. The caller enqueues their launches on commit."""
    due = Workspace.objects.filter(restart_due_at__lte=now, status=WorkspaceStatus.OFFLINE)
    restarted = []
    guard = RowGuard[UUID](what="A due restart could not begin")
    for workspace_id in list(due.order_by("restart_due_at", "pk").values_list("pk", flat=True)):
        with guard.handling(workspace_id), suppress(TransitionRefused, TreeChanged):
            restarted.append(_restart(workspace_id, now=now))
    return restarted


@transaction.atomic
def _restart(workspace_id: UUID, *, now: datetime) -> Workspace:
    workspace = lock_in_tree(workspace_id)
    is_due = workspace.restart_due_at is not None and workspace.restart_due_at <= now
    if workspace.status != WorkspaceStatus.OFFLINE or not is_due:
        raise TransitionRefused(workspace, "its automatic restart is no longer due.")
    check_no_paused_ancestor(workspace)
    attempt = workspace.restart_attempts + 1
    loop = {**workspace.crash_loop, "next_attempt_at": None} if workspace.crash_loop else {}
    payload: dict[str, Any] = {"restart": {"reason": workspace.failure_message, "attempt": attempt}}
    if loop:
        payload["crash_loop"] = loop_facts(loop)
    changes = {"restart_attempts": attempt, "crash_loop": loop}
    begin_launch(workspace, rule=RESTART, now=now, changes=changes, payload=payload)
    return workspace
