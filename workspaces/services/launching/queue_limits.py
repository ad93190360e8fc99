"""Limits on the queue of a backend: how many launches start at once, and how far apart.

LAUNCH_CONCURRENCY and LAUNCH_PAUSE_MILLISECONDS set them; 0, the default, is no limit. The oldest launch starts first.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Window
from django.db.models.functions import RowNumber

from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.lifecycle.transitions import Phase
from workspaces.models import BackendKind, Launch, LaunchQuerySet, Workspace


def queue_positions() -> Mapping[UUID, int]:
    """Return by workspace id the position of its launch in its backend's queue; the first is 1. One query."""
    position = Window(RowNumber(), partition_by="backend", order_by=("queued_at", "pk"))
    return dict(_queued().annotate(position=position).order_by().values_list("workspace_id", "position"))


def may_start(workspace: Workspace, *, now: datetime) -> bool:
    """Return whether a queued launch may start now. Call it in the transaction that starts it, under its lock.

    Without limits it costs no query.
    """
    pause = timedelta(milliseconds=settings.LAUNCH_PAUSE_MILLISECONDS)
    if not settings.LAUNCH_CONCURRENCY and not pause:
        return True
    lock_until_commit(AdvisoryLock.LAUNCH_QUEUE, key=workspace.backend)
    started = Launch.objects.filter(backend=workspace.backend, launching_at__gt=now - pause)
    if pause and started.exists():
        return False
    return queue_positions().get(workspace.pk, 1) <= _free_slots(workspace.backend)


def next_in_queue(*, after: UUID) -> list[tuple[UUID, UUID]]:
    """Return (workspace id, launch id) of the launches that may start now that launch `after` has made room.

    Empty if a pause is kept between launches: Celery beat dispatches the next one when the pause is over.
    """
    if not settings.LAUNCH_CONCURRENCY or settings.LAUNCH_PAUSE_MILLISECONDS:
        return []
    # A launch that did not begin made no room: it still waits itself.
    backend = Launch.objects.filter(pk=after).exclude(launching_at=None).values_list("backend", flat=True).first()
    if backend is None:
        return []
    first = _queued().filter(backend=backend).order_by("queued_at", "pk")
    return list(first.values_list("workspace_id", "pk")[: _free_slots(backend)])


def _queued() -> LaunchQuerySet:
    waiting = Launch.objects.in_flight().current().filter(workspace__phase=Phase.QUEUED)
    return waiting.exclude(backend=BackendKind.EXTERNAL)


def _free_slots(backend: str) -> int:
    if not settings.LAUNCH_CONCURRENCY:
        return 1
    launching = Workspace.objects.provisioning().filter(phase=Phase.LAUNCHING, backend=backend).count()
    return max(settings.LAUNCH_CONCURRENCY - launching, 0)
