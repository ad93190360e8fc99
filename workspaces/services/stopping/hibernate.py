"""Hibernate idle workspaces: schedule the stop, confirm it, or undo a hibernation that was not confirmed."""

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
from workspaces.services.core.degradation import degrade_again
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
)

HIBERNATE = find_transition(Verb.HIBERNATE, WorkspaceStatus.HIBERNATING)
CONFIRM = find_transition(Verb.CONFIRM_HIBERNATION, WorkspaceStatus.HIBERNATED)
UNDO_TO_ONLINE = find_transition(Verb.UNDO_HIBERNATION, WorkspaceStatus.ONLINE)
UNDO_TO_OFFLINE = find_transition(Verb.UNDO_HIBERNATION, WorkspaceStatus.OFFLINE)


@transaction.atomic
def hibernate(*, workspace_id: UUID, forced: bool, now: datetime, idle_limit: timedelta | None = None) -> Workspace:
    """Move a workspace to hibernating and schedule the stop of its process; a busy one only if forced.

    With `idle_limit`, the workspace must have been idle for its `hibernation_idle_minutes`, and its last heartbeat
    must not be older than the limit. Raises UnknownWorkspace or TransitionRefused.
    """
    workspace = lock_workspace(workspace_id)
    check_source(workspace, HIBERNATE)
    if workspace.is_external:
        raise TransitionRefused(workspace, "it is external, so only those who run it can stop it.")
    # A heartbeat that reports a task comes before this lock and refuses the hibernation, or after it and undoes it.
    heartbeat = Heartbeat.objects.select_for_update(no_key=True).get(pk=workspace_id)
    if heartbeat.active_tasks and not forced:
        tasks = heartbeat.active_tasks
        raise TransitionRefused(workspace, f"it has {tasks} active tasks. Wait for them, or force the hibernation.")
    if idle_limit is not None and not _is_idle(workspace, heartbeat, limit=idle_limit, now=now):
        raise TransitionRefused(workspace, "it was not idle for long enough.")
    changes = {"deadline_at": now + timedelta(seconds=HIBERNATING_SECONDS)}
    transition(HIBERNATE, [StatusChange(workspace=workspace, changes=changes, payload={"name": workspace.name})])
    current = Launch.objects.filter(pk=workspace.launch_id)
    launch_records.schedule_teardown(current, at=now, reason=TeardownReason.HIBERNATED, now=now, is_forced=forced)
    return workspace


def hibernate_idle(*, now: datetime, limit: timedelta) -> list[Workspace]:
    """Hibernate the workspaces that were idle for their `hibernation_idle_minutes`; return them.

    One whose last heartbeat is older than `limit` is silent, which is not idle.
    """
    hibernating = []
    guard = RowGuard[UUID](what="An idle workspace could not be hibernated")
    for workspace_id in idle_ids(now=now, limit=limit):
        with guard.handling(workspace_id), suppress(TransitionRefused):
            hibernating.append(hibernate(workspace_id=workspace_id, forced=False, now=now, idle_limit=limit))
    return hibernating


def idle_ids(*, now: datetime, limit: timedelta) -> list[UUID]:
    """Return the ids of the workspaces that `hibernate_idle` may hibernate: as read, without a lock."""
    idle_for = ExpressionWrapper(
        F("hibernation_idle_minutes") * Value(timedelta(minutes=1)), output_field=DurationField()
    )
    rows = (
        Workspace.objects.expects_heartbeats()
        .exclude(backend=BackendKind.EXTERNAL)
        .filter(hibernation_idle_minutes__gt=0)
        .filter(heartbeat__active_tasks=0, heartbeat__last_heartbeat_at__gte=now - limit)
        .filter(heartbeat__idle_since__lte=ExpressionWrapper(Value(now) - idle_for, output_field=DateTimeField()))
    )
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _is_idle(workspace: Workspace, heartbeat: Heartbeat, *, limit: timedelta, now: datetime) -> bool:
    """Return whether `idle_ids` is still true of this workspace, whose rows are locked."""
    if not workspace.hibernation_idle_minutes or heartbeat.idle_since is None:
        return False
    is_silent = heartbeat.last_heartbeat_at < now - limit
    return not is_silent and heartbeat.idle_since <= now - timedelta(minutes=workspace.hibernation_idle_minutes)


def confirm_hibernation(workspace: Workspace, launch_id: UUID) -> None:
    """Move a locked workspace to hibernated after its launch was confirmed stopped; do nothing if it moved on."""
    if workspace.status in CONFIRM.sources and workspace.launch_id == launch_id:
        transition(CONFIRM, [StatusChange(workspace=workspace, changes={"url": ""}, payload={"name": workspace.name})])


@transaction.atomic
def undo_for_new_task(*, workspace_id: UUID, launch_id: UUID) -> bool:
    """Undo a hibernation because a heartbeat reports a task. Return False if the stop was already sent, or forced."""
    workspace = lock_workspace(workspace_id)
    launch = Launch.objects.filter(pk=launch_id).first()
    return launch is not None and undo_if_task_began(workspace, launch)


def undo_if_task_began(workspace: Workspace, launch: Launch) -> bool:
    """Undo the hibernation of a locked workspace if a task began before the stop was sent; return whether it did."""
    is_hibernating = workspace.status in UNDO_TO_ONLINE.sources and workspace.launch_id == launch.pk
    is_scheduled = launch.teardown_reason == TeardownReason.HIBERNATED and launch.teardown_at is not None
    if not is_hibernating or not is_scheduled or launch.teardown_is_forced or launch.teardown_attempts:
        return False
    if not Heartbeat.objects.filter(pk=workspace.pk, active_tasks__gt=0).exists():
        return False
    _undo_to_online(workspace)
    return True


def undo_overdue(*, now: datetime, limit: timedelta) -> list[Workspace]:
    """Undo the hibernations that were not confirmed by their deadline; return these workspaces.

    One that was last seen running, with a heartbeat not older than `limit`, is online or degraded again, any other is
    offline.
    """
    overdue = Workspace.objects.filter(status=WorkspaceStatus.HIBERNATING, deadline_at__lte=now)
    undone = []
    guard = RowGuard[UUID](what="An overdue hibernation could not be undone")
    for workspace_id in list(overdue.order_by("deadline_at", "pk").values_list("pk", flat=True)):
        with guard.handling(workspace_id), suppress(TransitionRefused):
            undone.append(_undo_overdue_one(workspace_id, now=now, limit=limit))
    return undone


@transaction.atomic
def _undo_overdue_one(workspace_id: UUID, *, now: datetime, limit: timedelta) -> Workspace:
    workspace = lock_workspace(workspace_id)
    check_source(workspace, UNDO_TO_OFFLINE)
    if workspace.deadline_at is None or workspace.deadline_at > now:
        raise TransitionRefused(workspace, "its deadline has not passed.")
    heartbeat = Heartbeat.objects.get(pk=workspace_id)
    evidence = Launch.objects.values_list("evidence", flat=True).get(pk=workspace.launch_id)
    if evidence.get("state") == BackendState.RUNNING and heartbeat.last_heartbeat_at >= now - limit:
        _undo_to_online(workspace)
    else:
        payload = {"name": workspace.name, "last_heartbeat_at": heartbeat.last_heartbeat_at.isoformat()}
        transition(UNDO_TO_OFFLINE, [StatusChange(workspace=workspace, payload=payload)])
        launch_records.cancel_teardown(workspace.launch_id)
    return workspace


def _undo_to_online(workspace: Workspace) -> None:
    payload: dict[str, Any] = {"url": workspace.url, "agent_card": workspace.agent_card}
    payload["recovered_from"] = WorkspaceStatus.HIBERNATING.value
    transition(UNDO_TO_ONLINE, [StatusChange(workspace=workspace, payload=payload)])
    launch_records.cancel_teardown(workspace.launch_id)
    degrade_again(workspace)
