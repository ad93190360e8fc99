"""The watcher: ask the backends about launches, and act with evidence on those that are dead. Unknown is not dead."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """Inspect every launch that is launching or booting. Return the IDs of the workspaces that failed.

    A workspace fails if its process ended, its backend lost it, or its log holds the crash marker.
    """
    waiting = Workspace.objects.provisioning().exclude(phase=Phase.QUEUED).exclude(backend=BackendKind.EXTERNAL)
    rows = waiting.order_by("deadline_at", "pk").values_list("pk", "launch_id", "phase", "backend")
    failed = []
    for workspace_id, launch_id, phase, kind in rows.iterator():
        observation = get_provisioner(kind).inspect(LaunchKey(workspace_id=workspace_id, launch_id=launch_id))
        with log_database_errors(launch_id), _log_refusals(launch_id):
            now = clock()
            _store_evidence(launch_id, observation, now=now)
            if phase == Phase.LAUNCHING and observation.state == BackendState.RUNNING:
                # The launch worker died after the start, or is a moment behind.
                enter_booting(workspace_id=workspace_id, launch_id=launch_id, observation=observation, now=now)
            elif _has_failed(phase, observation):
                fail(workspace_id=workspace_id, launch_id=launch_id, reason=_crash_reason(observation), now=now)
                failed.append(workspace_id)
    return failed


def watch_online(*, clock: Callable[[], datetime]) -> list[UUID]:
    """Inspect every workspace that is online, silent or hibernating. Return the IDs of those whose process ended.

    This is one query for all of them and one inspection each. It writes only if something changed.
    """
    online = Q(workspace__status__in=RUNNING)
    # What became of the process decides how an unconfirmed hibernation ends.
    hibernating = Q(workspace__status=WorkspaceStatus.HIBERNATING)
    # The process of a silent workspace may have ended while no watcher ran.
    silent = Q(workspace__status=WorkspaceStatus.OFFLINE, teardown_at__isnull=True)
    launches = Launch.objects.current().filter(online | hibernating | silent).exclude(backend=BackendKind.EXTERNAL)
    lost = []
    for launch in launches.only("workspace_id", "backend", "evidence", "teardown_at").order_by("pk").iterator():
        key = LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)
        observation = get_provisioner(launch.backend).inspect(key)
        with log_database_errors(launch.pk), _log_refusals(launch.pk):
            # Reading the clock is a query, so read it only if there is something to write.
            if (launch.evidence or {}).get("state") != observation.state:
                _store_evidence(launch.pk, observation, now=clock())
            if observation.state in DEAD_STATES and launch.teardown_at is None:
                mark_dead_offline(
                    workspace_id=launch.workspace_id, launch_id=launch.pk, observation=observation, now=clock()
                )
                lost.append(launch.workspace_id)
    return lost


@contextmanager
def _log_refusals(launch_id: UUID) -> Iterator[None]:
    """Log a launch that changed between its inspection and the lock, and let the watcher continue."""
    try:
        yield
    except TransitionRefused as refusal:
        logger.info("A watched launch moved on", extra={"launch_id": launch_id, "why": str(refusal)})


def _has_failed(phase: str, observation: Observation) -> bool:
    if phase == Phase.LAUNCHING:
        # A missing object proves nothing yet: the start may be about to happen.
        return observation.state == BackendState.EXITED
    return observation.state in DEAD_STATES or crash_message(observation.log_tail) is not None


def _store_evidence(launch_id: UUID, observation: Observation, *, now: datetime) -> None:
    seen: dict[str, Any] = {"state": str(observation.state), "exit_code": observation.exit_code}
    if observation.state not in DEAD_STATES and crash_message(observation.log_tail) is not None:
        seen["said_failed"] = True
    # Only what changed is written: the watcher looks every few seconds.
    launch = Launch.objects.filter(pk=launch_id)
    launch.exclude(evidence__contains=seen).update(evidence={**seen, "at": now.isoformat()})


def _crash_reason(observation: Observation) -> FailureReason:
    if observation.state not in DEAD_STATES:
        said = crash_message(observation.log_tail)
        message = f"Its boot says in its log that it failed{f': {said}' if said else ''}. See the end of its log."
    elif observation.state == BackendState.MISSING:
        detail = f" ({observation.detail})" if observation.detail else ""
        message = f"Its backend no longer holds it{detail}, and its agent had not registered. Restart it."
    else:
        ended = describe_exit(observation.exit_code)
        message = f"Its process {ended} before its agent registered. See the end of its log."
    return FailureReason(
        code=FailureCode.CRASHED,
        source=FailureSource.BOOTSTRAP_WATCHER,
        message=message,
        log_tail=observation.log_tail,
    )
