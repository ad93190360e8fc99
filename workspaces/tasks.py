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
from workspaces.enqueue import enqueue
from workspaces.models.incidents import Component
from workspaces.provisioners.base import LaunchKey
from workspaces.services.launching import launch as launch_service
from workspaces.services.launching import queue_limits, redispatch
from workspaces.services.stopping import hibernate, reaper, remove, teardown
from workspaces.services.watching import crash_recovery, last_look, outages, sweep
from workspaces.services.watching import watch as watch_service

logger = logging.getLogger(__name__)

# A worker of the sweep deletes for at most this long at a time.
PRUNE_SECONDS = 20.0


@shared_task
def launch(*, workspace_id: str, launch_id: str) -> None:
    """Launch a queued workspace."""
    launch_service.launch(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id), clock=database_now)
    for next_id, next_launch_id in queue_limits.next_in_queue(after=UUID(launch_id)):
        enqueue_launch(workspace_id=next_id, launch_id=next_launch_id)


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
    """Begin the due restarts by policy, and queue lost tasks again: launches that no worker took, due teardowns."""
    now = database_now()
    restarted = crash_recovery.restart_crashed(now=now)
    for workspace in restarted:
        enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    if restarted:
        logger.info("Restarted by policy", extra={"restarted": len(restarted)})
    for workspace_id, launch_id in redispatch.claim_undispatched(now=now):
        enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))
    enqueue_due_teardowns(now=now)


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


def enqueue_launch(*, workspace_id: UUID, launch_id: UUID) -> None:
    """Queue the task of a new launch, on commit."""
    enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))


def enqueue_due_teardowns(*, now: datetime, workspace_id: UUID | None = None) -> None:
    """Queue the due teardowns, on commit: all of them, or those of one workspace."""
    for launch_id in teardown.claim_due_teardowns(now=now, workspace_id=workspace_id):
        enqueue(tear_down, launch_id=str(launch_id))
