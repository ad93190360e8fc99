"""Relaunch what the last shutdown of Slipway on this host paused."""

from datetime import datetime

from django.db import transaction

from workspaces.lifecycle.transitions import TeardownReason, WorkspaceStatus
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.core.transition import lock_workspaces
from workspaces.services.core.trees import ancestors, lock_roots
from workspaces.services.launching.relaunch import begin_launches
from workspaces.services.launching.resume import RESUME


@transaction.atomic
def resume_after_shutdown(*, now: datetime) -> list[Workspace]:
    """Relaunch what the last shutdown paused, unless it is below a workspace that somebody paused.

    The caller enqueues the launches on commit.
    """
    shut_down = Launch.objects.current().filter(
        teardown_reason=TeardownReason.SHUT_DOWN, workspace__status=WorkspaceStatus.PAUSED
    )
    ids = list(shut_down.exclude(backend=BackendKind.EXTERNAL).values_list("workspace_id", flat=True))
    lock_roots(ids)
    rows = lock_workspaces(ids)
    # Read again under the locks: an operator may have resumed or removed one of them.
    still_paused = set(shut_down.filter(workspace_id__in=ids).values_list("workspace_id", flat=True))
    paused_by_operators = Workspace.objects.filter(status=WorkspaceStatus.PAUSED).exclude(pk__in=still_paused)
    resumed = []
    guard = RowGuard[Workspace](what="A workspace could not be resumed")
    for row in rows:
        with guard.handling(row):
            if row.pk in still_paused and not paused_by_operators.filter(pk__in=ancestors(row.pk)).exists():
                resumed.append(row)
    refused = {failure.row.workspace.pk for failure in begin_launches(resumed, rule=RESUME, now=now)}
    return [row for row in resumed if row.pk not in refused]
