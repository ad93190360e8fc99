"""Lose, degrade and recover a workspace that was online."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from workspaces.access.masking import mask
from workspaces.lifecycle.transitions import RUNNING, Verb, WorkspaceStatus, find_transition
from workspaces.models import Heartbeat, Workspace
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
    """Take every workspace offline that was silent for longer than `limit` (external ones: awaiting their agent)."""
    # Time in which nobody could be heard is no silence.
    cutoff = outages.heartbeat_cutoff(now=now, limit=limit)
    silent = Heartbeat.objects.filter(workspace__status__in=RUNNING, last_heartbeat_at__lt=cutoff)
    lost: list[Workspace] = []
    ids = list(silent.order_by("workspace_id").values_list("workspace_id", flat=True))
    for start in range(0, len(ids), BATCH):
        lost += _lose(ids[start : start + BATCH], cutoff=cutoff)
    return lost


@transaction.atomic
def _lose(workspace_ids: list[UUID], *, cutoff: datetime) -> list[Workspace]:
    locking = Workspace.objects.expects_heartbeats().select_for_update(of=("self",), skip_locked=True, no_key=True)
    rows = {row.pk: row for row in locking.filter(pk__in=workspace_ids).order_by("pk")}
    # Asked in a second statement, under the locks: a beat may have come in between.
    still = Heartbeat.objects.filter(workspace_id__in=rows, last_heartbeat_at__lt=cutoff)
    beats = dict(still.values_list("workspace_id", "last_heartbeat_at"))
    lost = []
    for row, external in ((LOSE, False), (LOSE_EXTERNAL, True)):
        steps = [
            StatusChange(workspace=rows[pk], payload=_lost_payload(rows[pk], at))
            for pk, at in beats.items()
            if rows[pk].is_external == external
        ]
        left_out = {step.workspace.pk for step in (transition_each(row, steps) if steps else [])}
        lost += [step.workspace for step in steps if step.workspace.pk not in left_out]
    return lost


def _lost_payload(workspace: Workspace, last_heartbeat_at: datetime) -> dict[str, Any]:
    return {"name": workspace.name, "last_heartbeat_at": last_heartbeat_at.isoformat()}


@transaction.atomic
def degrade(*, workspace_id: UUID, launch_id: UUID, payload: dict[str, Any]) -> bool:
    """Mark an online workspace degraded; `payload` says why. False where it moved on."""
    return _between(find_transition(Verb.DEGRADE, WorkspaceStatus.DEGRADED), workspace_id, launch_id, payload)


@transaction.atomic
def recover(*, workspace_id: UUID, launch_id: UUID) -> bool:
    """Mark a degraded workspace online again. False where it moved on."""
    payload = {"recovered_from": WorkspaceStatus.DEGRADED.value}
    return _between(find_transition(Verb.RECOVER, WorkspaceStatus.ONLINE), workspace_id, launch_id, payload)


def _between(row: Any, workspace_id: UUID, launch_id: UUID, payload: dict[str, Any]) -> bool:
    workspace = lock_workspace(workspace_id)
    try:
        check_source(workspace, row)
    except TransitionRefused:
        return False
    if workspace.launch_id != launch_id:
        return False
    if "sample_error" in payload:
        payload = {**payload, "sample_error": mask(payload["sample_error"], workspace_id=workspace_id)}
    if row.target == WorkspaceStatus.ONLINE:
        payload = {"url": workspace.url, "agent_card": workspace.agent_card, **payload}
    transition(row, [StatusChange(workspace=workspace, payload=payload)])
    return True
