"""Wake a hibernated workspace: a new launch in its old working folder."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import Verb, WorkspaceStatus, find_transition
from workspaces.models import Workspace
from workspaces.services.core.transition import check_source
from workspaces.services.core.trees import check_no_paused_ancestor, lock_in_tree
from workspaces.services.launching.relaunch import begin_launch

WAKE = find_transition(Verb.WAKE, WorkspaceStatus.PROVISIONING)


@transaction.atomic
def wake(*, workspace_id: UUID, now: datetime) -> Workspace:
    """Begin a new launch, which the caller enqueues on commit. Raises UnknownWorkspace or TransitionRefused."""
    workspace = lock_in_tree(workspace_id)
    check_source(workspace, WAKE)
    check_no_paused_ancestor(workspace)
    begin_launch(workspace, rule=WAKE, now=now)
    return workspace
