"""Wake a hibernated workspace: a new launch with the data it had."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import Verb, WorkspaceStatus, find_transition
from workspaces.models import Workspace
from workspaces.services.core.transition import check_source
from workspaces.services.core.trees import lock_in_tree, refuse_under_paused
from workspaces.services.launching.relaunch import begin_launch

WAKE = find_transition(Verb.WAKE, WorkspaceStatus.PROVISIONING)


@transaction.atomic
def wake(*, workspace_id: UUID, now: datetime) -> Workspace:
    """Begin a new launch. The caller enqueues it on commit. Raises UnknownWorkspace or TransitionRefused."""
    workspace = lock_in_tree(workspace_id)
    check_source(workspace, WAKE)
    refuse_under_paused(workspace)
    begin_launch(workspace, row=WAKE, now=now)
    return workspace
