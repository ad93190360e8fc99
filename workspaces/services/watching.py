"""The watcher: asks the backend about launches in flight and fails what is dead, with evidence. Unknown is not dead."""

import logging
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from workspaces.lifecycle import FailureCode, FailureSource, Phase
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.provisioners.backends import backend
from workspaces.provisioners.base import BackendState, LaunchKey, Observation
from workspaces.services.failing import Reason, fail
from workspaces.services.launching import enter_booting
from workspaces.services.moving import TransitionRefused

logger = logging.getLogger(__name__)


def watch(*, clock: Callable[[], datetime]) -> list[UUID]:
    """Look once at every launch that is launching or booting. Return the workspaces that were failed."""
    waiting = Workspace.objects.provisioning().exclude(phase=Phase.QUEUED).exclude(backend=BackendKind.EXTERNAL)
    rows = waiting.order_by("deadline_at", "pk").values_list("pk", "launch_id", "phase", "backend")
    failed = []
    for workspace_id, launch_id, phase, backend_kind in rows.iterator():
        observation = backend(backend_kind).inspect(LaunchKey(workspace_id=workspace_id, launch_id=launch_id))
        if _settle(workspace_id, launch_id, phase, observation, now=clock()):
            failed.append(workspace_id)
    return failed


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
    elif observation.state not in {BackendState.EXITED, BackendState.MISSING}:
        return False
    try:
        fail(workspace_id=workspace_id, launch_id=launch_id, reason=_reason(observation), now=now)
    except TransitionRefused as moved_on:
        logger.info("A watched launch moved on", extra={"launch_id": launch_id, "why": str(moved_on)})
        return False
    return True


def _keep_evidence(launch_id: UUID, observation: Observation, *, now: datetime) -> None:
    seen = {"state": str(observation.state), "exit_code": observation.exit_code}
    row = Launch.objects.filter(pk=launch_id)
    # Written when it changed only: a watch every few seconds is no reason for a write.
    row.exclude(evidence__contains=seen).update(evidence={**seen, "at": now.isoformat()})


def _reason(observation: Observation) -> Reason:
    return Reason(
        code=FailureCode.CRASHED,
        source=FailureSource.BOOTSTRAP_WATCHER,
        message=_message(observation),
        log_tail=observation.log_tail,
    )


def _message(observation: Observation) -> str:
    if observation.state == BackendState.MISSING:
        detail = f" ({observation.detail})" if observation.detail else ""
        return f"Its backend no longer holds it{detail}, and its agent had not registered. Restart it."
    return f"Its process {ending(observation.exit_code)} before its agent registered. The end of its log says more."


def ending(exit_code: int | None) -> str:
    """Return how a process ended, in words: `exited with status 3`, `was killed by signal 9`."""
    if exit_code is None:
        return "ended, its exit status unknown,"
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited with status {exit_code}"
