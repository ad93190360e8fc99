"""Pause all workspaces when Slipway itself is stopped on this host."""

from datetime import datetime

from django.db import transaction

from workspaces.lifecycle.transitions import TeardownReason
from workspaces.models import Launch, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.transition import StatusChange, lock_workspaces, transition
from workspaces.services.core.trees import lock_roots
from workspaces.services.stopping.pause import PAUSE


@transaction.atomic
def pause_all_for_shutdown(*, now: datetime) -> list[Launch]:
    """Pause every active workspace and schedule its teardown for now. Return all launches to tear down."""
    ids = list(Workspace.objects.active().values_list("pk", flat=True))
    lock_roots(ids)
    locked = lock_workspaces(ids)
    # A workspace whose process ended has nothing to stop: it stays offline, with its planned restart.
    torn_down = Launch.objects.current().filter(workspace_id__in=ids, torn_down_at__isnull=False)
    ended = set(torn_down.values_list("workspace_id", flat=True))
    rows = [row for row in locked if row.status in PAUSE.sources and row.pk not in ended]
    launch_records.end_current_launches(rows, reason=TeardownReason.SHUT_DOWN, now=now)
    transition(PAUSE, [StatusChange(workspace=row, changes={"url": ""}, payload={"name": row.name}) for row in rows])
    # End the grace of deadline failures: a late agent could not register while Slipway is down.
    Launch.objects.not_torn_down().filter(teardown_at__gt=now).update(teardown_at=now)
    return list(Launch.objects.due_for_teardown(now=now).order_by("teardown_at", "pk"))
