"""An agent arrives: its workspace is online."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Value, When

from events import outbox
from events.names import EventType
from workspaces.lifecycle.transitions import (
    DEADLINE_FAILURES,
    Transition,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import BackendKind, Heartbeat, Launch, LaunchOutcome, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.lineage import event_subjects
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What an agent says of itself. Where the backend gives the address, `url` is ignored."""

    url: str
    agent_card: Mapping[str, Any]


@transaction.atomic
def mark_online(
    *, workspace_id: UUID, launch_id: UUID, verb: Verb, registration: Registration | None, now: datetime
) -> Workspace:
    """Bring a workspace online by `register` (with a registration) or by `heartbeat` (without).

    Registering again while online replaces url and card without a move. A deadline failure within its grace is taken
    back. Raises UnknownWorkspace, or TransitionRefused (also for a launch that isn't the present one).
    """
    workspace = lock_workspace(workspace_id)
    if workspace.launch_id != launch_id:
        raise TransitionRefused(workspace, "another launch has begun since.")
    changes = _registered(workspace, registration)
    if workspace.status == WorkspaceStatus.ONLINE:
        _hear(workspace, now=now)
        _replace(workspace, changes)
        return workspace
    row = _transition(workspace, verb, now=now)
    recovered_from = workspace.status
    transition(
        row, [StatusChange(workspace=workspace, changes=changes, payload=_payload(workspace, changes, recovered_from))]
    )
    # The time that it was not there is no idleness.
    idle_anew = Case(When(active_tasks=0, then=Value(now)), default=F("idle_since"))
    _hear(workspace, now=now, idle_since=idle_anew)
    _end_launch(launch_id, now=now)
    return workspace


def _hear(workspace: Workspace, *, now: datetime, **more: Any) -> None:
    """It is heard of now: else the next look for silent ones would take a long boot for silence."""
    Heartbeat.objects.filter(pk=workspace.pk).update(last_heartbeat_at=now, **more)


def _transition(workspace: Workspace, verb: Verb, *, now: datetime) -> Transition:
    if workspace.status == WorkspaceStatus.FAILED and _is_within_grace(workspace, now=now):
        return find_transition(Verb.LATE_ARRIVAL, WorkspaceStatus.ONLINE)
    row = find_transition(verb, WorkspaceStatus.ONLINE)
    check_source(workspace, row)
    if workspace.status == WorkspaceStatus.OFFLINE and _is_meant_to_stop(workspace, now=now):
        raise TransitionRefused(workspace, "its process was seen to end, and what is left of it is being stopped.")
    return row


def _is_meant_to_stop(workspace: Workspace, *, now: datetime) -> bool:
    return Launch.objects.filter(pk=workspace.launch_id, teardown_at__lte=now).exists()


def _is_within_grace(workspace: Workspace, *, now: datetime) -> bool:
    """Ask, under the workspace's lock, whether time alone failed it and its backend object still stands.

    `now` was read before the lock was had: the stop may have been sent since.
    """
    unstopped = Launch.objects.not_torn_down().filter(pk=workspace.launch_id, teardown_at__gt=now, teardown_attempts=0)
    return workspace.failure_code in DEADLINE_FAILURES and unstopped.exists()


def _registered(workspace: Workspace, registration: Registration | None) -> dict[str, Any]:
    if registration is None:
        return {}
    url = workspace.url if BackendKind(workspace.backend).gives_address else registration.url
    return {"url": url, "agent_card": dict(registration.agent_card)}


def _payload(workspace: Workspace, changes: Mapping[str, Any], recovered_from: str) -> dict[str, Any]:
    payload = {
        "url": changes.get("url", workspace.url),
        "agent_card": changes.get("agent_card", workspace.agent_card),
    }
    if recovered_from not in {WorkspaceStatus.PROVISIONING, WorkspaceStatus.AWAITING_AGENT}:
        payload["recovered_from"] = str(recovered_from)
    return payload


def _replace(workspace: Workspace, changes: Mapping[str, Any]) -> None:
    """Store a new url and card of a workspace that is online already; an event only where the card changed."""
    if not changes:
        return
    card_changed = workspace.agent_card != changes["agent_card"]
    Workspace.objects.filter(pk=workspace.pk).update(**changes)
    workspace.url, workspace.agent_card = changes["url"], changes["agent_card"]
    if card_changed:
        record_card_update(workspace)


def record_card_update(workspace: Workspace) -> None:
    """Tell that the agent's card changed; `workspace` is locked and holds the new one."""
    outbox.record(
        [
            outbox.NewEvent(
                event_type=EventType.AGENT_CARD_UPDATED,
                workspace_id=workspace.pk,
                version=workspace.version,
                payload={"agent_card": workspace.agent_card},
                subject=event_subjects([workspace])[0],
            )
        ]
    )


def _end_launch(launch_id: UUID, *, now: datetime) -> None:
    """Record that the launch led here, and take back the intent to stop it, which a late arrival finds."""
    in_flight = Launch.objects.filter(pk=launch_id).exclude(outcome=LaunchOutcome.ONLINE)
    # A launch that a deadline had failed keeps that code as a false flip: the measure of the limits.
    ended = {"outcome": LaunchOutcome.ONLINE, "ended_at": now, "false_flip_code": F("failure_code"), "failure_code": ""}
    if not in_flight.update(**ended, **launch_records.NO_TEARDOWN_FIELDS):
        launch_records.cancel_teardown(launch_id)
