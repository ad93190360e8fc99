"""Celery's way in: each task takes ids, makes one call, and tolerates running twice."""

import logging
from datetime import datetime
from uuid import UUID

from celery import shared_task

from workspaces.clock import database_now
from workspaces.deadlines import present_policy
from workspaces.queueing import enqueue
from workspaces.services import dispatching, launching, sweeping, tearing_down, watching

logger = logging.getLogger(__name__)


@shared_task
def launch(*, workspace_id: str, launch_id: str) -> None:
    """Launch a queued workspace."""
    launching.launch(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id), clock=database_now)


@shared_task
def tear_down(*, launch_id: str) -> None:
    """Stop one launch's backend object."""
    tearing_down.tear_down(launch_id=UUID(launch_id), now=database_now())


@shared_task
def sweep_stuck() -> None:
    """Fail what is provisioning beyond its deadline."""
    report = sweeping.sweep_stuck(now=database_now(), policy=present_policy())
    enqueue_due_teardowns(now=database_now())
    if report.failed or report.set_aside:
        logger.info("Swept", extra={"failed": len(report.failed), "set_aside": len(report.set_aside)})


@shared_task
def watch() -> None:
    """Look at launches in flight."""
    failed = watching.watch(clock=database_now)
    if failed:
        enqueue_due_teardowns(now=database_now())
        logger.info("Watched", extra={"failed": len(failed)})


@shared_task
def dispatch_due() -> None:
    """Send again what was lost: launches that no worker took, and teardowns that are due."""
    now = database_now()
    for workspace_id, launch_id in dispatching.claim_undispatched(now=now):
        enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))
    enqueue_due_teardowns(now=now)


def enqueue_launch(*, workspace_id: UUID, launch_id: UUID) -> None:
    """Hand a new launch to the workers, on commit."""
    enqueue(launch, workspace_id=str(workspace_id), launch_id=str(launch_id))


def enqueue_due_teardowns(*, now: datetime, workspace_id: UUID | None = None) -> None:
    """Hand to the workers, on commit, what is to be stopped by now: all of it, or what one workspace left."""
    for launch_id in tearing_down.claim_due_teardowns(now=now, workspace_id=workspace_id):
        enqueue(tear_down, launch_id=str(launch_id))
