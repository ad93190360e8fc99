"""The watcher: ask the backends about launches, and act with evidence on those that are dead. Unknown is not dead."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from workspaces.lifecycle.transitions import RUNNING, FailureCode, FailureSource, Phase, WorkspaceStatus
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.provisioners.base import DEAD_STATES, BackendState, LaunchKey, Observation, describe_exit
from workspaces.provisioners.guarded_calls import look
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.launching.launch import enter_booting
from workspaces.services.watching.crash_recovery import mark_dead_offline
from workspaces.services.watching.evidence import crash_message, store_evidence, watching


def watch_boots(*, clock: Callable[[], datetime]) -> list[UUID]:
    """Inspect every launch that is launching or booting. Return the IDs of the workspaces that failed.

    A workspace fails if its process ended, its backend lost it, or its log holds the crash marker.
    """
    waiting = Workspace.objects.provisioning().exclude(phase=Phase.QUEUED).exclude(backend=BackendKind.EXTERNAL)
    rows = waiting.order_by("deadline_at", "pk").values_list("pk", "launch_id", "phase", "backend")
    failed = []
    for workspace_id, launch_id, phase, kind in rows.iterator():
        key = LaunchKey(workspace_id=workspace_id, launch_id=launch_id)
        observation = look(kind, key)
        with watching(key, clock=clock):
            now = clock()
            store_evidence(key, observation, now=now)
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
        observation = look(launch.backend, key, with_log=False)
        with watching(key, clock=clock):
            stored = launch.evidence or {}
            is_known = observation.state != BackendState.UNKNOWN or stored.get("detail") == observation.detail
            # Reading the clock is a query, so read it only if there is something to write.
            if stored.get("state") != observation.state or not is_known:
                store_evidence(key, observation, now=clock())
            if observation.state in DEAD_STATES and launch.teardown_at is None:
                mark_dead_offline(
                    workspace_id=launch.workspace_id, launch_id=launch.pk, observation=observation, now=clock()
                )
                lost.append(launch.workspace_id)
    return lost


def _has_failed(phase: str, observation: Observation) -> bool:
    if phase == Phase.LAUNCHING:
        # A missing object proves nothing yet: the start may be about to happen.
        return observation.state == BackendState.EXITED
    return observation.state in DEAD_STATES or crash_message(observation.log_tail) is not None


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
