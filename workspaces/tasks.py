"""Celery's way in: each task takes ids, makes one call, and tolerates running twice."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings

from postgres.clock import database_now
from workspaces.access import secrets
from workspaces.deadlines.policy import current_policy
from workspaces.enqueue import enqueue
from workspaces.models.incidents import Component
from workspaces.provisioners.base import LaunchKey
from workspaces.services.launching import launch as launch_service
from workspaces.services.launching import queue_limits, redispatch
from workspaces.services.stopping import hibernate, reaper, remove, teardown
from workspaces.services.watching import (
    crash_recovery,
    last_look,
    outages,
    sweep,
)
from workspaces.services.watching import (
    watch as watch_service,
)

logger = logging.getLogger(__name__)


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
    """Fail what is provisioning beyond its deadline."""
    outages.record_liveness(part=Component.SWEEP, now=database_now())
    report = sweep.sweep_stuck(now=database_now(), policy=current_policy())
    enqueue_due_teardowns(now=database_now())
    if report.failed or report.set_aside:
        logger.info("Swept", extra={"failed": len(report.failed), "set_aside": len(report.set_aside)})


@shared_task
def watch() -> None:
    """Look at launches in flight, and at workspaces that are to run on."""
    failed, lost = watch_service.watch_boots(clock=database_now), watch_service.watch_online(clock=database_now)
    last_look.take_last_looks(clock=database_now, policy=current_policy())
    if failed or lost:
        enqueue_due_teardowns(now=database_now())
        logger.info("Watched", extra={"failed": len(failed), "lost": len(lost)})


@shared_task
def dispatch_due() -> None:
    """Restart what a policy restarts by now; send again what was lost: launches that no worker took, due teardowns."""
    now = database_now()
    _restart_due(now=now)
    for workspace_id, launch_id in redispatch.claim_undispatched(now=now):
        enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))
    enqueue_due_teardowns(now=now)


def _restart_due(*, now: datetime) -> None:
    restarted = crash_recovery.restart_crashed(now=now)
    for workspace in restarted:
        enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    if restarted:
        logger.info("Restarted by policy", extra={"restarted": len(restarted)})


@shared_task
def sweep_hibernation() -> None:
    """Hibernate who was idle for long enough; settle hibernations whose deadline passed."""
    now, limit = database_now(), timedelta(seconds=settings.HEARTBEAT_LIMIT_SECONDS)
    settled = hibernate.undo_overdue(now=now, limit=limit)
    claimed = hibernate.hibernate_idle(now=now, limit=limit)
    enqueue_due_teardowns(now=now)
    if settled or claimed:
        logger.info("Swept hibernation", extra={"hibernating": len(claimed), "undone": len(settled)})


@shared_task
def reap() -> None:
    """Have stopped what is alive and needed by nothing."""
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
    """Stop a backend object that no row knows."""
    reaper.stop_unknown(kind, LaunchKey(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id)))


@shared_task
def delete_files() -> None:
    """Delete what removed workspaces left."""
    gone, stay = remove.delete_files(now=database_now())
    if gone or stay:
        logger.info("Deleted removed workspaces' files", extra={"workspaces": len(gone), "left": len(stay)})


def enqueue_launch(*, workspace_id: UUID, launch_id: UUID) -> None:
    """Hand a new launch to the workers, on commit."""
    enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))


def enqueue_due_teardowns(*, now: datetime, workspace_id: UUID | None = None) -> None:
    """Hand to the workers, on commit, what is to be stopped by now: all of it, or what one workspace left."""
    for launch_id in teardown.claim_due_teardowns(now=now, workspace_id=workspace_id):
        enqueue(tear_down, launch_id=str(launch_id))
