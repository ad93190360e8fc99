"""What happens to workspaces when Slipway itself is stopped on this host, and when it starts again."""

from datetime import datetime

from django.db import transaction

from workspaces.lifecycle import TeardownReason, Verb, WorkspaceStatus, transition
from workspaces.models import Launch, Workspace
from workspaces.services import launches
from workspaces.services.moving import Step, lock, move
from workspaces.services.restarting import begin_launch

PAUSE = transition(Verb.PAUSE, WorkspaceStatus.PAUSED)


@transaction.atomic
def suspend_all(*, now: datetime) -> list[Launch]:
    """Pause every workspace that runs, and mean its object to stop now. Return the launches to tear down."""
    ids = Workspace.objects.running().values_list("pk", flat=True)
    rows = [row for row in lock(ids) if row.status in PAUSE.sources]
    launches.end_present(rows, reason=TeardownReason.SHUT_DOWN, now=now)
    move(PAUSE, [Step(workspace=row, changes={"url": ""}, payload={"name": row.name}) for row in rows])
    return list(Launch.objects.to_tear_down(now=now).order_by("teardown_at", "pk"))


@transaction.atomic
def resume_suspended(*, now: datetime) -> list[Workspace]:
    """Launch again what the last shutdown paused, and only that. The caller enqueues the launches on commit."""
    shut_down = Launch.objects.filter(
        teardown_reason=TeardownReason.SHUT_DOWN, workspace__status=WorkspaceStatus.PAUSED
    )
    rows = lock(shut_down.values_list("workspace_id", flat=True))
    present = set(shut_down.values_list("pk", flat=True))
    resumed = [row for row in rows if row.status == WorkspaceStatus.PAUSED and row.launch_id in present]
    for row in resumed:
        begin_launch(row, verb=Verb.RESUME, reason=TeardownReason.SHUT_DOWN, now=now)
    return resumed
