"""What happens to workspaces when Slipway itself is stopped on this host, and when it starts again."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle import TeardownReason, WorkspaceStatus
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.services import launches
from workspaces.services.moving import Step, lock, move
from workspaces.services.pausing import PAUSE, RESUME
from workspaces.services.relaunching import begin_launches
from workspaces.services.trees import ancestors, lock_roots


@transaction.atomic
def suspend_all(*, now: datetime) -> list[Launch]:
    """Pause every workspace that runs, and mean its object to stop now. Return the launches to tear down."""
    ids = list(Workspace.objects.running().values_list("pk", flat=True))
    lock_roots(ids)
    locked = lock(ids)
    # Whose process ended and is confirmed gone has nothing to stop: it stays offline, its planned restart with it.
    gone = Launch.objects.present().filter(workspace_id__in=ids, torn_down_at__isnull=False)
    stopped = set(gone.values_list("workspace_id", flat=True))
    rows = [row for row in locked if row.status in PAUSE.sources and row.pk not in stopped]
    launches.end_present(rows, reason=TeardownReason.SHUT_DOWN, now=now)
    move(PAUSE, [Step(workspace=row, changes={"url": ""}, payload={"name": row.name}) for row in rows])
    # What failed by time alone is not left to run through its grace: nobody would be there to hear it arrive.
    Launch.objects.standing().filter(teardown_at__gt=now).update(teardown_at=now)
    return list(Launch.objects.to_tear_down(now=now).order_by("teardown_at", "pk"))


@transaction.atomic
def resume_suspended(*, now: datetime) -> list[Workspace]:
    """Launch again what the last shutdown paused, and only that. The caller enqueues the launches on commit."""
    shut_down = Launch.objects.present().filter(
        teardown_reason=TeardownReason.SHUT_DOWN, workspace__status=WorkspaceStatus.PAUSED
    )
    ids = list(shut_down.exclude(backend=BackendKind.EXTERNAL).values_list("workspace_id", flat=True))
    lock_roots(ids)
    rows = lock(ids)
    # Asked again under the locks: an operator may have resumed or removed one of them.
    still = set(shut_down.filter(workspace_id__in=ids).values_list("workspace_id", flat=True))
    resumed = [row for row in rows if row.pk in still and not _stands_under_another_pause(row, still)]
    left = {step.workspace.pk for step in begin_launches(resumed, row=RESUME, now=now)}
    return [row for row in resumed if row.pk not in left]


def _stands_under_another_pause(workspace: Workspace, resumed: set[UUID]) -> bool:
    above = Workspace.objects.filter(pk__in=ancestors(workspace.pk), status=WorkspaceStatus.PAUSED)
    return above.exclude(pk__in=resumed).exists()
