"""The queue of a backend: whose turn it is, and how many launches Celery's queue holds of it.

LAUNCH_CONCURRENCY limits how many launches start at once, LAUNCH_PAUSE_MILLISECONDS how far apart; 0, the default, is
no limit. The oldest launch starts first.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Max, Window
from django.db.models.functions import RowNumber

from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import Launch, LaunchOutcome, Workspace

# Much longer than a task takes to reach a worker, much shorter than the ten minutes that a launch may be queued.
REPEAT_AFTER_SECONDS = 20
# One that runs and one that waits for each thread of the launch workers.
LAUNCHES_PER_SLOT = 2
_NO_LIMIT = 2**31 - 1

# The index workspace_waiting serves both parts.
_NEXT = """
    SELECT launch_id FROM workspaces_workspace
    WHERE status = %(provisioning)s AND phase = %(queued)s AND backend = %(backend)s
    ORDER BY provisioning_started_at, id
    LIMIT greatest(0, least(%(most)s, %(slots)s - (
        SELECT count(*) FROM workspaces_workspace
        WHERE status = %(provisioning)s AND phase = %(launching)s AND backend = %(backend)s
    )))
"""
# Rows that another transaction has locked are skipped: two that waited for each other's rows would deadlock.
# Not `id IN (SELECT … LIMIT …)`: Postgres may run that once per row, and each run skips the rows updated so far.
_CLAIM = """
    WITH next AS MATERIALIZED (
        SELECT id FROM workspaces_launch
        WHERE id = ANY(%(next)s) AND (dispatched_at IS NULL OR dispatched_at <= %(repeat_before)s)
        ORDER BY queued_at, id
        LIMIT %(room)s
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE workspaces_launch AS launch SET dispatched_at = %(now)s
    FROM next WHERE launch.id = next.id
    RETURNING launch.queued_at, launch.workspace_id, launch.id
"""


def queue_positions() -> Mapping[UUID, int]:
    """Return by workspace id the position of its launch in its backend's queue; the first is 1. One query."""
    position = Window(RowNumber(), partition_by="backend", order_by=("provisioning_started_at", "pk"))
    queued = Workspace.objects.provisioning().filter(phase=Phase.QUEUED)
    return dict(queued.annotate(position=position).order_by().values_list("pk", "position"))


def most_launches_waiting() -> int:
    """Return how many messages the queue of the launch workers may hold."""
    return LAUNCHES_PER_SLOT * settings.LAUNCH_SLOTS


def claim_next(backend: str, *, now: datetime, room: int) -> list[tuple[UUID, UUID]]:
    """Return (workspace id, launch id) of the next launches of a backend, the oldest first, and mark them dispatched.

    They are at most `room`, and with those dispatched and starting no more than the limits and the slots allow. One
    whose message is lost is returned again after REPEAT_AFTER_SECONDS.
    """
    if seconds_of_pause_left(backend, now=now) > settings.WATCH_INTERVAL_SECONDS:
        return []
    slots = min(settings.LAUNCH_CONCURRENCY or _NO_LIMIT, most_launches_waiting())
    launch_ids = _next_launches(backend, slots=slots)
    if not launch_ids:
        return []
    times = {"now": now, "repeat_before": now - timedelta(seconds=REPEAT_AFTER_SECONDS)}
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {**times, "next": launch_ids, "room": room})
        return [(workspace_id, launch_id) for _, workspace_id, launch_id in sorted(cursor.fetchall())]


def wait_for_turn(workspace: Workspace, *, clock: Callable[[], datetime]) -> bool:
    """Return whether a queued launch is one of the next to start, after waiting for the end of the pause.

    A pause that ends only after Celery beat has looked again is not waited for. Without limits this costs no query.
    """
    if not has_limits():
        return True
    left = seconds_of_pause_left(workspace.backend, now=clock())
    if left > settings.WATCH_INTERVAL_SECONDS or not _is_next(workspace):
        return False
    time.sleep(left)
    return True


def may_start(workspace: Workspace, *, now: datetime) -> bool:
    """Return whether a queued launch may start now. Call it in the transaction that starts it, under its lock.

    Without limits this costs no query.
    """
    if not has_limits():
        return True
    lock_until_commit(AdvisoryLock.LAUNCH_QUEUE, key=workspace.backend)
    return seconds_of_pause_left(workspace.backend, now=now) == 0 and _is_next(workspace)


def backend_with_room(*, after: UUID) -> str | None:
    """Return the backend on which a launch has made room for the next; None if it still waits itself."""
    launched = Launch.objects.filter(pk=after).exclude(launching_at=None, outcome=LaunchOutcome.IN_FLIGHT)
    return launched.values_list("backend", flat=True).first()


def seconds_of_pause_left(backend: str, *, now: datetime) -> float:
    """Return how long the pause after the backend's last launch still lasts. Without a pause this costs no query."""
    pause = timedelta(milliseconds=settings.LAUNCH_PAUSE_MILLISECONDS)
    if not pause:
        return 0.0
    lately = Launch.objects.filter(backend=backend, launching_at__gt=now - pause)
    last = lately.aggregate(last=Max("launching_at"))["last"]
    return (last + pause - now).total_seconds() if last else 0.0


def has_limits() -> bool:
    """Return whether a launch may have to wait for others of its backend, besides for a thread of a worker."""
    return bool(settings.LAUNCH_CONCURRENCY or settings.LAUNCH_PAUSE_MILLISECONDS)


def _is_next(workspace: Workspace) -> bool:
    return workspace.launch_id in _next_launches(workspace.backend, slots=settings.LAUNCH_CONCURRENCY or _NO_LIMIT)


def _next_launches(backend: str, *, slots: int) -> list[UUID]:
    """Return the queued launches of a backend that this many slots, less those that are starting, are free for."""
    parameters: dict[str, str | int] = {
        "provisioning": WorkspaceStatus.PROVISIONING.value,
        "queued": Phase.QUEUED.value,
        "launching": Phase.LAUNCHING.value,
        "backend": backend,
        "slots": slots,
        "most": 1 if settings.LAUNCH_PAUSE_MILLISECONDS else _NO_LIMIT,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, parameters)
        return [launch_id for (launch_id,) in cursor.fetchall()]
