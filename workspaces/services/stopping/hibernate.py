"""Hibernate a workspace that has nothing to do, and settle what a hibernation that did not go through leaves."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Value

from workspaces.deadlines.policy import HIBERNATING_SECONDS
from workspaces.lifecycle.transitions import TeardownReason, Verb, WorkspaceStatus, find_transition
from workspaces.models import BackendKind, Heartbeat, Launch, Workspace
from workspaces.provisioners.base import BackendState
from workspaces.services.core import launch_records
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
)

HIBERNATE = find_transition(Verb.HIBERNATE, WorkspaceStatus.HIBERNATING)
CONFIRM = find_transition(Verb.CONFIRM_HIBERNATION, WorkspaceStatus.HIBERNATED)
BACK_ONLINE = find_transition(Verb.UNDO_HIBERNATION, WorkspaceStatus.ONLINE)
NOT_SEEN = find_transition(Verb.UNDO_HIBERNATION, WorkspaceStatus.OFFLINE)


@transaction.atomic
def hibernate(*, workspace_id: UUID, forced: bool, now: datetime, idle_limit: timedelta | None = None) -> Workspace:
    """Claim an idle workspace and mean its process to stop; forced: a busy one too.

    With `idle_limit` it must have been idle for as long as it asks for, its last beat no older than this.
    Raises UnknownWorkspace or TransitionRefused.
    """
    workspace = lock_workspace(workspace_id)
    check_source(workspace, HIBERNATE)
    if workspace.is_external:
        raise TransitionRefused(workspace, "it is external: whoever runs it stops it.")
    # Locked: a beat that tells of a task comes before this claim, or after it and is asked about before the stop.
    beat = Heartbeat.objects.select_for_update(no_key=True).get(pk=workspace_id)
    if beat.active_tasks and not forced:
        raise TransitionRefused(workspace, f"it has {beat.active_tasks} active tasks. Wait for them, or force it.")
    if idle_limit is not None and not _is_idle_for_long(workspace, beat, limit=idle_limit, now=now):
        raise TransitionRefused(workspace, "it was not idle for long enough.")
    deadline = now + timedelta(seconds=HIBERNATING_SECONDS)
    transition(
        HIBERNATE,
        [StatusChange(workspace=workspace, changes={"deadline_at": deadline}, payload={"name": workspace.name})],
    )
    present = Launch.objects.filter(pk=workspace.launch_id)
    launch_records.schedule_teardown(present, at=now, reason=TeardownReason.HIBERNATED, now=now, is_forced=forced)
    return workspace


def hibernate_idle(*, now: datetime, limit: timedelta) -> list[Workspace]:
    """Hibernate who was idle for `hibernation_idle_minutes`. Silent ones are not idle: nobody knows what they do."""
    claimed = []
    for workspace_id in _idle(now=now, limit=limit):
        with suppress(TransitionRefused):
            claimed.append(hibernate(workspace_id=workspace_id, forced=False, now=now, idle_limit=limit))
    return claimed


def _idle(*, now: datetime, limit: timedelta) -> list[UUID]:
    asked_for = ExpressionWrapper(
        F("hibernation_idle_minutes") * Value(timedelta(minutes=1)), output_field=DurationField()
    )
    idle_before = ExpressionWrapper(Value(now) - asked_for, output_field=DateTimeField())
    rows = (
        Workspace.objects.expects_heartbeats()
        .exclude(backend=BackendKind.EXTERNAL)
        .filter(hibernation_idle_minutes__gt=0)
    )
    rows = rows.filter(heartbeat__active_tasks=0, heartbeat__last_heartbeat_at__gte=now - limit)
    return list(rows.filter(heartbeat__idle_since__lte=idle_before).order_by("pk").values_list("pk", flat=True))


def _is_idle_for_long(workspace: Workspace, beat: Heartbeat, *, limit: timedelta, now: datetime) -> bool:
    if not workspace.hibernation_idle_minutes or beat.idle_since is None:
        return False
    is_heard = beat.last_heartbeat_at >= now - limit
    return is_heard and beat.idle_since <= now - timedelta(minutes=workspace.hibernation_idle_minutes)


def confirm_hibernation(workspace: Workspace, launch_id: UUID) -> None:
    """Move a locked workspace to hibernated, now that its backend confirmed the stop; nothing where it moved on."""
    if workspace.status in CONFIRM.sources and workspace.launch_id == launch_id:
        transition(CONFIRM, [StatusChange(workspace=workspace, changes={"url": ""}, payload={"name": workspace.name})])


def undo_if_task_began(workspace: Workspace, launch: Launch) -> bool:
    """Take a locked workspace's hibernation back where a task began before the stop was sent; tell whether it was."""
    is_to_be_stopped = launch.teardown_reason == TeardownReason.HIBERNATED and launch.teardown_at is not None
    if workspace.status not in BACK_ONLINE.sources or workspace.launch_id != launch.pk or not is_to_be_stopped:
        return False
    if launch.teardown_is_forced or launch.teardown_attempts:
        return False
    if not Heartbeat.objects.filter(pk=workspace.pk, active_tasks__gt=0).exists():
        return False
    _back_online(workspace)
    return True


@transaction.atomic
def undo_for_new_task(*, workspace_id: UUID, launch_id: UUID) -> bool:
    """Take a hibernation back because its agent's beat tells of a task. False where the stop was sent, or forced."""
    workspace = lock_workspace(workspace_id)
    launch = Launch.objects.filter(pk=launch_id).first()
    return launch is not None and undo_if_task_began(workspace, launch)


def undo_overdue(*, now: datetime, limit: timedelta) -> list[Workspace]:
    """Undo hibernations not confirmed by their deadline, by what was seen last; silent for `limit` is offline."""
    overdue = Workspace.objects.filter(status=WorkspaceStatus.HIBERNATING, deadline_at__lte=now)
    settled = []
    for workspace_id in list(overdue.order_by("deadline_at", "pk").values_list("pk", flat=True)):
        with suppress(TransitionRefused):
            settled.append(_settle(workspace_id, now=now, limit=limit))
    return settled


@transaction.atomic
def _settle(workspace_id: UUID, *, now: datetime, limit: timedelta) -> Workspace:
    workspace = lock_workspace(workspace_id)
    check_source(workspace, NOT_SEEN)
    if workspace.deadline_at is None or workspace.deadline_at > now:
        raise TransitionRefused(workspace, "its deadline has not passed.")
    beat = Heartbeat.objects.get(pk=workspace_id)
    evidence = Launch.objects.values_list("evidence", flat=True).get(pk=workspace.launch_id)
    if evidence.get("state") == BackendState.RUNNING and beat.last_heartbeat_at >= now - limit:
        _back_online(workspace)
    else:
        payload = {"name": workspace.name, "last_heartbeat_at": beat.last_heartbeat_at.isoformat()}
        transition(NOT_SEEN, [StatusChange(workspace=workspace, payload=payload)])
        launch_records.cancel_teardown(workspace.launch_id)
    return workspace


def _back_online(workspace: Workspace) -> None:
    payload: dict[str, Any] = {"url": workspace.url, "agent_card": workspace.agent_card}
    payload["recovered_from"] = WorkspaceStatus.HIBERNATING.value
    transition(BACK_ONLINE, [StatusChange(workspace=workspace, payload=payload)])
    launch_records.cancel_teardown(workspace.launch_id)
