"""Mark online workspaces lost, degraded or recovered, by what their heartbeats say."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import RUNNING, Transition, Verb, WorkspaceStatus, find_transition
from workspaces.models import Heartbeat, Workspace
from workspaces.services.core.degradation import DEGRADE, stored_heartbeat
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
    transition_each,
)
from workspaces.services.watching import outages

LOSE = find_transition(Verb.LOSE, WorkspaceStatus.OFFLINE)
LOSE_EXTERNAL = find_transition(Verb.LOSE, WorkspaceStatus.AWAITING_AGENT)
BATCH = 500


def mark_silent_offline(*, now: datetime, limit: timedelta) -> list[Workspace]:
    """Take workspaces offline that have been silent for longer than `limit`; external ones await their agent again.

    The time of our own outages does not count as silence. Return the workspaces taken offline.
    """
    cutoff = outages.heartbeat_cutoff(now=now, limit=limit)
    silent = Heartbeat.objects.filter(workspace__status__in=RUNNING, last_heartbeat_at__lt=cutoff)
    ids = list(silent.order_by("workspace_id").values_list("workspace_id", flat=True))
    lost: list[Workspace] = []
    guard = RowGuard[UUID](what="A silent workspace could not be taken offline")
    for start in range(0, len(ids), BATCH):
        guard.handle_together(
            ids[start : start + BATCH], lambda part: lost.extend(_mark_batch_offline(part, cutoff=cutoff))
        )
    return lost


@transaction.atomic
def _mark_batch_offline(workspace_ids: Sequence[UUID], *, cutoff: datetime) -> list[Workspace]:
    locking = Workspace.objects.expects_heartbeats().select_for_update(of=("self",), skip_locked=True, no_key=True)
    rows = {row.pk: row for row in locking.filter(pk__in=workspace_ids).order_by("pk")}
    # Ask again in a second statement, under the locks: a heartbeat may have arrived in between.
    silent = Heartbeat.objects.filter(workspace_id__in=rows, last_heartbeat_at__lt=cutoff)
    heartbeats = list(silent.values_list("workspace_id", "last_heartbeat_at"))
    lost = []
    for edge, is_external in ((LOSE, False), (LOSE_EXTERNAL, True)):
        changes = [
            StatusChange(workspace=rows[pk], payload={"name": rows[pk].name, "last_heartbeat_at": at.isoformat()})
            for pk, at in heartbeats
            if rows[pk].is_external == is_external
        ]
        left_out = {failure.row.workspace.pk for failure in transition_each(edge, changes)}
        lost += [change.workspace for change in changes if change.workspace.pk not in left_out]
    return lost


@transaction.atomic
def degrade(*, workspace_id: UUID, launch_id: UUID, payload: dict[str, Any]) -> bool:
    """Mark an online workspace degraded; `payload` says why, masked. Return False if it moved on meanwhile."""
    return _change_status(DEGRADE, workspace_id, launch_id, payload)


@transaction.atomic
def recover(*, workspace_id: UUID, launch_id: UUID) -> bool:
    """Mark a degraded workspace online again. Return False if it moved on, or no longer says that it is well."""
    payload = {"recovered_from": WorkspaceStatus.DEGRADED.value}
    return _change_status(find_transition(Verb.RECOVER, WorkspaceStatus.ONLINE), workspace_id, launch_id, payload)


def _change_status(edge: Transition, workspace_id: UUID, launch_id: UUID, payload: dict[str, Any]) -> bool:
    workspace = lock_workspace(workspace_id)
    try:
        check_source(workspace, edge)
    except TransitionRefused:
        return False
    if workspace.launch_id != launch_id:
        return False
    if edge.target == WorkspaceStatus.ONLINE:
        # A later heartbeat may have been stored before this lock was free.
        if not stored_heartbeat(workspace).is_well:
            return False
        payload = {"url": workspace.url, "agent_card": workspace.agent_card, **payload}
    transition(edge, [StatusChange(workspace=workspace, payload=payload)])
    return True
