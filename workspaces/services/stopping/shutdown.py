"""Pause all workspaces when Slipway itself is stopped on this host."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection

from workspaces.lifecycle.transitions import TeardownReason
from workspaces.models import Launch, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.core.transition import StatusChange, lock_workspaces, transition_each
from workspaces.services.core.trees import lock_roots
from workspaces.services.stopping.pause import PAUSE

# A shutdown waits for no lock that somebody keeps: it pauses the others.
_LOCK_MILLISECONDS = 200


def pause_all_for_shutdown(*, now: datetime) -> list[Launch]:
    """Pause every active workspace and schedule its teardown for now. Return all launches to tear down.

    One that can't be paused is logged, and is not among them; the others are.
    """
    guard = RowGuard[UUID](what="A workspace could not be paused for the shutdown")
    ids = list(Workspace.objects.active().order_by("pk").values_list("pk", flat=True))
    guard.handle_together(ids, lambda part: pause_together(part, now=now))
    # End the grace of deadline failures: a late agent could not register while Slipway is down.
    in_grace = Launch.objects.not_torn_down().filter(teardown_at__gt=now).values_list("pk", flat=True)
    guard.handle_together(list(in_grace), lambda part: end_grace(part, now=now))
    return list(Launch.objects.due_for_teardown(now=now).select_related("workspace").order_by("teardown_at", "pk"))


def pause_together(workspace_ids: Sequence[UUID], *, now: datetime) -> None:
    """Pause these workspaces, in a transaction. Raises whatever one of them raises before it can be told which."""
    limit_lock_waits()
    lock_roots(workspace_ids)
    locked = lock_workspaces(workspace_ids)
    # A workspace whose process ended has nothing to stop: it stays offline, with its planned restart.
    torn_down = Launch.objects.current().filter(workspace_id__in=workspace_ids, torn_down_at__isnull=False)
    ended = set(torn_down.values_list("workspace_id", flat=True))
    rows = [row for row in locked if row.status in PAUSE.sources and row.pk not in ended]
    steps = [StatusChange(workspace=row, changes={"url": ""}, payload={"name": row.name}) for row in rows]
    transition_each(
        PAUSE,
        steps,
        first=lambda part: launch_records.end_current_launches(part, reason=TeardownReason.SHUT_DOWN, now=now),
    )


def end_grace(launch_ids: Sequence[UUID], *, now: datetime) -> None:
    """Let the teardown of these failed launches be due now."""
    limit_lock_waits()
    Launch.objects.not_torn_down().filter(pk__in=launch_ids, teardown_at__gt=now).update(teardown_at=now)


def limit_lock_waits() -> None:
    """Let this transaction's statements fail that would wait longer for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(_LOCK_MILLISECONDS)])
