"""Launch again what the last shutdown of Slipway on this host paused."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import TeardownReason, WorkspaceStatus
from workspaces.models import BackendKind, Launch, Workspace
from workspaces.services.core.transition import lock_workspaces
from workspaces.services.core.trees import ancestors, lock_roots
from workspaces.services.launching.relaunch import begin_launches
from workspaces.services.launching.resume import RESUME


@transaction.atomic
def resume_after_shutdown(*, now: datetime) -> list[Workspace]:
    """Launch again what the last shutdown paused, and only that. The caller enqueues the launches on commit."""
    shut_down = Launch.objects.current().filter(
        teardown_reason=TeardownReason.SHUT_DOWN, workspace__status=WorkspaceStatus.PAUSED
    )
    ids = list(shut_down.exclude(backend=BackendKind.EXTERNAL).values_list("workspace_id", flat=True))
    lock_roots(ids)
    rows = lock_workspaces(ids)
    # Asked again under the locks: an operator may have resumed or removed one of them.
    still = set(shut_down.filter(workspace_id__in=ids).values_list("workspace_id", flat=True))
    resumed = [row for row in rows if row.pk in still and not _stands_under_another_pause(row, still)]
    left = {step.workspace.pk for step in begin_launches(resumed, row=RESUME, now=now)}
    return [row for row in resumed if row.pk not in left]


def _stands_under_another_pause(workspace: Workspace, resumed: set[UUID]) -> bool:
    above = Workspace.objects.filter(pk__in=ancestors(workspace.pk), status=WorkspaceStatus.PAUSED)
    return above.exclude(pk__in=resumed).exists()
