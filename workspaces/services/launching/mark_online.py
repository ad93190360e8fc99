"""Bring a workspace online when its agent registers or sends a heartbeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from events import outbox
from events.models import Event
from events.names import EventType
from workspaces.lifecycle.transitions import (
    BEFORE_REGISTRATION,
    DEADLINE_FAILURES,
    RuntimeState,
    Transition,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import BackendKind, Heartbeat, Launch, LaunchOutcome, LaunchQuerySet, Workspace
from workspaces.services.core.degradation import degrade_again
from workspaces.services.core.lineage import event_subjects
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
)

MOST_CARD_CHANGES_PER_HOUR = 20


# Both times are reset, so that neither a long boot counts as silence nor the time offline as idleness. A register says
# that the agent's process has just started, so what an earlier one said of its health is over. A deadline
# failure that this undoes stays on record, as a measure of how well the limits fit. A launch that was online before
# only loses its teardown. One statement of our own, since the ORM took longer to word two than Postgres to run them.
_FOLLOW = """
WITH beat AS (
    UPDATE workspaces_heartbeat
    SET last_heartbeat_at = %(now)s, idle_since = CASE WHEN active_tasks = 0 THEN %(now)s ELSE idle_since END,
        error_rate = CASE WHEN %(registers)s THEN 0 ELSE error_rate END,
        runtime_state = CASE WHEN %(registers)s THEN '' ELSE runtime_state END
    WHERE workspace_id = %(workspace)s
)
UPDATE workspaces_launch
SET false_flip_code = CASE WHEN outcome <> %(online)s THEN failure_code ELSE false_flip_code END,
    failure_code = CASE WHEN outcome <> %(online)s THEN '' ELSE failure_code END,
    failure_message = CASE WHEN outcome <> %(online)s THEN '' ELSE failure_message END,
    ended_at = CASE WHEN outcome <> %(online)s THEN %(now)s ELSE ended_at END,
    boot_log_bytes = CASE WHEN outcome <> %(online)s THEN %(boot_log_bytes)s::bigint ELSE boot_log_bytes END,
    outcome = %(online)s, teardown_at = NULL, teardown_reason = '', teardown_is_forced = false
WHERE id = %(launch)s AND (outcome <> %(online)s OR teardown_at IS NOT NULL)
"""
# The same, for a register while online.
_FRESH: dict[str, Any] = {"error_rate": 0, "runtime_state": RuntimeState.FINE}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What an agent registers with. `url` is ignored if the backend assigns the URL. None: the earlier card stays."""

    url: str
    agent_card: Mapping[str, Any] | None


@transaction.atomic
def mark_online(
    *,
    workspace_id: UUID,
    launch_id: UUID,
    verb: Verb,
    registration: Registration | None,
    now: datetime,
    boot_log_bytes: int | None = None,
) -> Workspace:
    """Bring a workspace online by `register` (with a registration) or `heartbeat` (without).

    `boot_log_bytes` is the length of the launch's log now, if it is known; it is kept the first time. A registration
    while online changes no status. A heartbeat may degrade at once. A deadline failure is undone during its grace.
    Raises UnknownWorkspace, and TransitionRefused, also for a launch that isn't current.
    """
    workspace = _lock_current(workspace_id, launch_id)
    registered: dict[str, Any] = {}
    if registration is not None:
        url = workspace.url if BackendKind(workspace.backend).gives_address else registration.url
        card = workspace.agent_card if registration.agent_card is None else dict(registration.agent_card)
        registered = {"url": url, "agent_card": card}
    if workspace.status == WorkspaceStatus.ONLINE:
        Heartbeat.objects.filter(pk=workspace.pk).update(last_heartbeat_at=now, **(_FRESH if registered else {}))
        _replace_registration(workspace, registered, now=now)
    else:
        payload = {"url": workspace.url, "agent_card": workspace.agent_card, **registered}
        if workspace.status not in BEFORE_REGISTRATION:
            payload["recovered_from"] = str(workspace.status)
        elif workspace.crash_loop:
            payload["crash_loop"] = loop_facts(workspace.crash_loop)
        step = StatusChange(workspace=workspace, changes=registered, payload=payload)
        transition(_find_rule(workspace, verb, now=now), [step])
        about: dict[str, Any] = {"workspace": workspace.pk, "launch": launch_id, "boot_log_bytes": boot_log_bytes}
        about |= {"now": now, "online": LaunchOutcome.ONLINE.value, "registers": bool(registered)}
        with connection.cursor() as cursor:
            cursor.execute(_FOLLOW, about)
    if not registered:
        degrade_again(workspace)
    return workspace


@transaction.atomic
def replace_card(*, workspace_id: UUID, launch_id: UUID, agent_card: Mapping[str, Any], now: datetime) -> Workspace:
    """Replace the card of an agent, whatever its workspace's status; write an event if it changed.

    A card that changes too often stays as it is. Raises UnknownWorkspace, and TransitionRefused for a launch that isn't
    current.
    """
    workspace = _lock_current(workspace_id, launch_id)
    _replace_registration(workspace, {"url": workspace.url, "agent_card": dict(agent_card)}, now=now)
    return workspace


def _lock_current(workspace_id: UUID, launch_id: UUID) -> Workspace:
    workspace = lock_workspace(workspace_id)
    if workspace.launch_id != launch_id:
        raise TransitionRefused(workspace, "another launch has begun since.")
    return workspace


def loop_facts(loop: Mapping[str, Any]) -> dict[str, Any]:
    """Return what events tell of a crash loop. The end of the log is not repeated in each."""
    return {name: loop[name] for name in ("count", "attempt", "most_attempts", "next_attempt_at", "gave_up")}


def may_arrive_late(workspace: Workspace, *, now: datetime) -> bool:
    """Return whether a deadline failed the workspace's launch whose grace lasts, so that it may still come online."""
    if workspace.status != WorkspaceStatus.FAILED or workspace.failure_code not in DEADLINE_FAILURES:
        return False
    # `now` may be from before a lock: the stop may have been sent since, which `teardown_attempts` tells.
    return _launch_of(workspace).not_torn_down().filter(teardown_at__gt=now, teardown_attempts=0).exists()


def _find_rule(workspace: Workspace, verb: Verb, *, now: datetime) -> Transition:
    """Return the transition that leads online. Raises TransitionRefused if the verb or a stop forbids it."""
    if may_arrive_late(workspace, now=now):
        return find_transition(Verb.LATE_ARRIVAL, WorkspaceStatus.ONLINE)
    rule = find_transition(verb, WorkspaceStatus.ONLINE)
    check_source(workspace, rule)
    if workspace.status == WorkspaceStatus.OFFLINE and _launch_of(workspace).filter(teardown_at__lte=now).exists():
        raise TransitionRefused(workspace, "its process was seen to end, and what is left of it is being stopped.")
    return rule


def _launch_of(workspace: Workspace) -> LaunchQuerySet:
    return Launch.objects.filter(pk=workspace.launch_id)


def _replace_registration(workspace: Workspace, registered: Mapping[str, Any], *, now: datetime) -> None:
    """Store the URL and card of a workspace that is already online; write an event only if the card changed.

    A card that changes too often stays as it is, since each change is an event for every channel and stream.
    """
    if not registered:
        return
    card_changed = workspace.agent_card != registered["agent_card"]
    if card_changed:
        changes = Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.AGENT_CARD_UPDATED)
        if changes.filter(created_at__gt=now - timedelta(hours=1)).count() >= MOST_CARD_CHANGES_PER_HOUR:
            registered, card_changed = {**registered, "agent_card": workspace.agent_card}, False
    Workspace.objects.filter(pk=workspace.pk).update(**registered)
    workspace.url, workspace.agent_card = registered["url"], registered["agent_card"]
    if card_changed:
        event = outbox.NewEvent(
            event_type=EventType.AGENT_CARD_UPDATED,
            workspace_id=workspace.pk,
            version=workspace.version,
            payload={"agent_card": workspace.agent_card},
            subject=event_subjects([workspace])[0],
        )
        outbox.record([event])
