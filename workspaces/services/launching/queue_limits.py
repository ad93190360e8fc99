"""Whose turn it is among the queued launches of a backend: in the order of the queue, so many at a time, so often."""

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
    """Return the place of each queued launch in its backend's queue, by workspace; the first is 1. One query."""
    place = Window(RowNumber(), partition_by="backend", order_by=("queued_at", "pk"))
    return dict(_queued().annotate(place=place).order_by().values_list("workspace_id", "place"))


def may_start(workspace: Workspace, *, now: datetime) -> bool:
    """Tell whether a queued launch may be begun now. Asked in the transaction that begins it, under its lock.

    Without limits (the default) that costs no query.
    """
    if not settings.LAUNCH_CONCURRENCY and not settings.LAUNCH_PAUSE_MILLISECONDS:
        return True
    lock_until_commit(AdvisoryLock.LAUNCH_QUEUE, key=workspace.backend)
    if not _pause_is_over(workspace.backend, now=now):
        return False
    return queue_positions().get(workspace.pk, 1) <= _free_places(workspace.backend)


def next_in_queue(*, after: UUID) -> list[tuple[UUID, UUID]]:
    """Return (workspace id, launch id) of those whose turn it is on this launch's backend, now that it made room.

    Nobody where a pause is kept between launches: beat sends the next one when it is over.
    """
    if not settings.LAUNCH_CONCURRENCY or settings.LAUNCH_PAUSE_MILLISECONDS:
        return []
    backend = Launch.objects.filter(pk=after).exclude(launching_at=None).values_list("backend", flat=True).first()
    if backend is None:
        # It made no room: it waits, too.
        return []
    first = _queued().filter(backend=backend).order_by("queued_at", "pk")
    return list(first.values_list("workspace_id", "pk")[: _free_places(backend)])


def _queued() -> LaunchQuerySet:
    waiting = Launch.objects.in_flight().current().filter(workspace__phase=Phase.QUEUED)
    return waiting.exclude(backend=BackendKind.EXTERNAL)


def _free_places(backend: str) -> int:
    if not settings.LAUNCH_CONCURRENCY:
        return 1
    begun = Workspace.objects.provisioning().filter(phase=Phase.LAUNCHING, backend=backend).count()
    return max(settings.LAUNCH_CONCURRENCY - begun, 0)


def _pause_is_over(backend: str, *, now: datetime) -> bool:
    pause = timedelta(milliseconds=settings.LAUNCH_PAUSE_MILLISECONDS)
    recent = Launch.objects.filter(backend=backend, launching_at__gt=now - pause)
    return not pause or not recent.exists()
