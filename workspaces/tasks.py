"""Celery tasks. Each takes ids, calls services and tolerates running twice."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings

from postgres.clock import database_now
from workspaces import retention
from workspaces.access import secrets
from workspaces.deadlines.policy import current_policy
from workspaces.enqueue import enqueue, on_commit, room_in
from workspaces.models.incidents import Component
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.kinds import LAUNCHED_KINDS
from workspaces.services.launching import launch as launch_service
from workspaces.services.launching import queue_limits, redispatch
from workspaces.services.stopping import hibernate, reaper, remove, teardown
from workspaces.services.watching import crash_recovery, last_look, outages, sweep
from workspaces.services.watching import watch as watch_service
from workspaces.workers import LAUNCH_QUEUE, STOP_QUEUE

logger = logging.getLogger(__name__)

# A worker of the sweep deletes for at most this long at a time.
PRUNE_SECONDS = 20.0
# How many stops may wait for each thread of the stop workers: enough until beat looks again, if each takes a moment.
STOPS_PER_SLOT = 25


@shared_task
def launch(*, workspace_id: str, launch_id: str) -> None:
    """Launch a queued workspace."""
    launch_service.launch(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id), clock=database_now)
    if backend := queue_limits.backend_with_room(after=UUID(launch_id)):
        enqueue_launches(backend, now=database_now())


@shared_task
def tear_down(*, launch_id: str) -> None:
    """Stop one launch's backend object."""
    teardown.tear_down(launch_id=UUID(launch_id), now=database_now())


@shared_task
def sweep_stuck() -> None:
    """Fail the workspaces that are provisioning past their deadline."""
    outages.record_liveness(part=Component.SWEEP, now=database_now())
    report = sweep.sweep_stuck(now=database_now(), policy=current_policy())
    enqueue_due_teardowns(now=database_now())
    if report.failed or report.set_aside:
        logger.info("Swept", extra={"failed": len(report.failed), "set_aside": len(report.set_aside)})


@shared_task
def watch() -> None:
    """Inspect launches in flight, and workspaces that should be running."""
    failed, lost = watch_service.watch_boots(clock=database_now), watch_service.watch_online(clock=database_now)
    last_look.take_last_looks(clock=database_now, policy=current_policy())
    if failed or lost:
        enqueue_due_teardowns(now=database_now())
        logger.info("Watched", extra={"failed": len(failed), "lost": len(lost)})


@shared_task
def dispatch_due() -> None:
    """Queue due stops and the launches whose turn it is, also those whose message was lost; restart by policy."""
    now = database_now()
    enqueue_due_teardowns(now=now)
    for kind in LAUNCHED_KINDS:
        enqueue_launches(kind, now=now)
    for workspace_id, launch_id in redispatch.claim_lost_starts(now=now, room=room_for_launches()):
        enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))
    # Last, so that a row that can't be restarted delays nothing else.
    restarted = crash_recovery.restart_crashed(now=now)
    for backend in {workspace.backend for workspace in restarted}:
        enqueue_launches(backend, now=now)
    if restarted:
        logger.info("Restarted by policy", extra={"restarted": len(restarted)})


@shared_task
def sweep_hibernation() -> None:
    """Hibernate workspaces that were idle for long enough; undo hibernations whose deadline passed."""
    now, limit = database_now(), timedelta(seconds=settings.HEARTBEAT_LIMIT_SECONDS)
    undone = hibernate.undo_overdue(now=now, limit=limit)
    hibernating = hibernate.hibernate_idle(now=now, limit=limit)
    enqueue_due_teardowns(now=now)
    if undone or hibernating:
        logger.info("Swept hibernation", extra={"hibernating": len(hibernating), "undone": len(undone)})


@shared_task
def reap() -> None:
    """Stop backend objects that nothing needs; delete retired secrets that no launch can have any more."""
    reaped = reaper.reap(now=database_now())
    for kind, key in reaped.unknown:
        if not room_for_stops():
            # The next run finds them again.
            break
        enqueue(stop_unknown, kind=kind, workspace_id=str(key.workspace_id), launch_id=str(key.launch_id))
    enqueue_due_teardowns(now=database_now())
    secrets.delete_unused_retired_secrets()
    if not reaped.is_empty:
        counts = {name: len(getattr(reaped, name)) for name in ("scheduled", "unknown", "unreachable")}
        logger.info("Reaped", extra=counts)


@shared_task
def stop_unknown(*, kind: str, workspace_id: str, launch_id: str) -> None:
    """Stop a backend object that has no row."""
    reaper.stop_unknown(kind, LaunchKey(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id)))


@shared_task
def delete_files() -> None:
    """Delete the files of removed workspaces."""
    deleted, failed = remove.delete_files(now=database_now())
    if deleted or failed:
        logger.info("Deleted removed workspaces' files", extra={"workspaces": len(deleted), "left": len(failed)})


@shared_task
def prune() -> None:
    """Delete some of what is older than the settings keep."""
    counts = {pruned.rule.name: pruned.number for pruned in retention.prune(now=database_now(), seconds=PRUNE_SECONDS)}
    if any(counts.values()):
        logger.info("Pruned", extra={name: number for name, number in counts.items() if number})


def enqueue_launches(backend: str, *, now: datetime) -> None:
    """Queue the launches of a backend whose turn it is, on commit. The others stay in the backend's queue."""

    def dispatch() -> None:
        if room := room_for_launches():
            for workspace_id, launch_id in queue_limits.claim_next(backend, now=now, room=room):
                enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))

    on_commit(dispatch)


def enqueue_due_teardowns(*, now: datetime, workspace_id: UUID | None = None) -> None:
    """Queue the due teardowns, on commit: all of them, or those of one workspace, as far as there is room."""

    def dispatch() -> None:
        # A few at a time, since other processes queue stops too and fill the same room.
        while room := min(room_for_stops(), settings.STOP_SLOTS):
            claimed = teardown.claim_due_teardowns(now=now, workspace_id=workspace_id, limit=room)
            for launch_id in claimed:
                enqueue(tear_down, launch_id=str(launch_id))
            if len(claimed) < room:
                break

    on_commit(dispatch)


def room_for_launches() -> int:
    """Return how many more messages the launch workers' queue may hold."""
    return room_in(LAUNCH_QUEUE, most=queue_limits.most_launches_waiting())


def room_for_stops() -> int:
    """Return how many more messages the stop workers' queue may hold."""
    return room_in(STOP_QUEUE, most=STOPS_PER_SLOT * settings.STOP_SLOTS)
