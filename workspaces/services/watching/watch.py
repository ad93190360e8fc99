"""The watcher: asks the backends about launches and acts on what is dead, with evidence. Unknown is not dead."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from workspaces.lifecycle.transitions import RUNNING, FailureCode, FailureSource, Phase, WorkspaceStatus
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.provisioners.base import DEAD_STATES, BackendState, LaunchKey, Observation, describe_exit
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.launching.launch import enter_booting
from workspaces.services.watching.crash_recovery import mark_dead_offline
from workspaces.services.watching.last_look import crash_message, log_database_errors

logger = logging.getLogger(__name__)


def watch_boots(*, clock: Callable[[], datetime]) -> list[UUID]:
    """Look once at every launch that is launching or booting. Return the workspaces that were failed."""
    waiting = Workspace.objects.provisioning().exclude(phase=Phase.QUEUED).exclude(backend=BackendKind.EXTERNAL)
    rows = waiting.order_by("deadline_at", "pk").values_list("pk", "launch_id", "phase", "backend")
    failed = []
    for workspace_id, launch_id, phase, backend_kind in rows.iterator():
        observation = get_provisioner(backend_kind).inspect(LaunchKey(workspace_id=workspace_id, launch_id=launch_id))
        with log_database_errors(launch_id):
            if _settle(workspace_id, launch_id, phase, observation, now=clock()):
                failed.append(workspace_id)
    return failed


def watch_online(*, clock: Callable[[], datetime]) -> list[UUID]:
    """Look once at every workspace that was online and is to run on. Return those whose process was seen to have ended.

    One query for all, one inspection each, and a write only where something changed.
    """
    lost = []
    for launch in _arrived():
        observation = get_provisioner(launch.backend).inspect(
            LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)
        )
        with log_database_errors(launch.pk):
            if _settle_arrived(launch, observation, clock=clock):
                lost.append(launch.workspace_id)
    return lost


def _settle_arrived(launch: Launch, observation: Observation, *, clock: Callable[[], datetime]) -> bool:
    # The clock is a query: read only where there is something to write.
    if (launch.evidence or {}).get("state") != observation.state:
        _keep_evidence(launch.pk, observation, now=clock())
    is_to_stop = launch.teardown_at is not None
    return observation.state in DEAD_STATES and not is_to_stop and _lose(launch, observation, now=clock())


def _arrived() -> Iterator[Launch]:
    alive = Q(workspace__status__in=RUNNING)
    # What became of its process decides how a hibernation that is not confirmed ends.
    hibernating = Q(workspace__status=WorkspaceStatus.HIBERNATING)
    # Silent ones: their process may have ended meanwhile, perhaps while nobody watched.
    silent = Q(workspace__status=WorkspaceStatus.OFFLINE, teardown_at__isnull=True)
    rows = Launch.objects.current().filter(alive | hibernating | silent).exclude(backend=BackendKind.EXTERNAL)
    return rows.only("workspace_id", "backend", "evidence", "teardown_at").order_by("pk").iterator()


def _lose(launch: Launch, observation: Observation, *, now: datetime) -> bool:
    try:
        mark_dead_offline(workspace_id=launch.workspace_id, launch_id=launch.pk, observation=observation, now=now)
    except TransitionRefused as moved_on:
        logger.info("A watched workspace moved on", extra={"launch_id": launch.pk, "why": str(moved_on)})
        return False
    return True


def _settle(workspace_id: UUID, launch_id: UUID, phase: str, observation: Observation, *, now: datetime) -> bool:
    """Act on what the backend said of one launch; tell whether that failed it."""
    _keep_evidence(launch_id, observation, now=now)
    if phase == Phase.LAUNCHING:
        if observation.state == BackendState.RUNNING:
            # Its worker died after the start, or is a moment behind.
            enter_booting(workspace_id=workspace_id, launch_id=launch_id, observation=observation, now=now)
        # Missing is no evidence here: the start may be about to happen.
        if observation.state != BackendState.EXITED:
            return False
    elif observation.state not in DEAD_STATES and crash_message(observation.log_tail) is None:
        return False
    try:
        fail(workspace_id=workspace_id, launch_id=launch_id, reason=_reason(observation), now=now)
    except TransitionRefused as moved_on:
        logger.info("A watched launch moved on", extra={"launch_id": launch_id, "why": str(moved_on)})
        return False
    return True


def _keep_evidence(launch_id: UUID, observation: Observation, *, now: datetime) -> None:
    seen: dict[str, Any] = {"state": str(observation.state), "exit_code": observation.exit_code}
    if observation.state not in DEAD_STATES and crash_message(observation.log_tail) is not None:
        seen["said_failed"] = True
    row = Launch.objects.filter(pk=launch_id)
    # Written when it changed only: a watch every few seconds is no reason for a write.
    row.exclude(evidence__contains=seen).update(evidence={**seen, "at": now.isoformat()})


def _reason(observation: Observation) -> FailureReason:
    return FailureReason(
        code=FailureCode.CRASHED,
        source=FailureSource.BOOTSTRAP_WATCHER,
        message=_message(observation),
        log_tail=observation.log_tail,
    )


def _message(observation: Observation) -> str:
    if observation.state not in DEAD_STATES:
        said = crash_message(observation.log_tail)
        return f"Its boot says in its log that it failed{f': {said}' if said else ''}. The end of its log says more."
    if observation.state == BackendState.MISSING:
        detail = f" ({observation.detail})" if observation.detail else ""
        return f"Its backend no longer holds it{detail}, and its agent had not registered. Restart it."
    return (
        f"Its process {describe_exit(observation.exit_code)} before its agent registered. The end of its log says more."
    )
