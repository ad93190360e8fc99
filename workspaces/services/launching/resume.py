"""Resume a paused workspace, and the descendants that the same pause paused."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import Verb, WorkspaceStatus, find_transition
from workspaces.models import Workspace
from workspaces.services.core.cascade import Cascade
from workspaces.services.core.transition import StatusChange, check_source, transition_each
from workspaces.services.core.trees import check_no_paused_ancestor, lock_tree
from workspaces.services.launching.relaunch import begin_launches

RESUME = find_transition(Verb.RESUME, WorkspaceStatus.PROVISIONING)
RESUME_EXTERNAL = find_transition(Verb.RESUME, WorkspaceStatus.AWAITING_AGENT)


@transaction.atomic
def resume(*, workspace_id: UUID, now: datetime) -> Cascade:
    """Launch it again, with the descendants that its pause paused. The caller enqueues the launches on commit.

    External ones await their agent, whose token is still valid. Raises UnknownWorkspace, and TransitionRefused, also
    if an ancestor is paused.
    """
    rows = lock_tree(workspace_id)
    check_source(rows[0], RESUME)
    check_no_paused_ancestor(rows[0])
    affected = to_resume(rows)
    refused = begin_launches([row for row in affected if not row.is_external], rule=RESUME, now=now)
    external = [StatusChange(workspace=row, payload={"name": row.name}) for row in affected if row.is_external]
    refused += transition_each(RESUME_EXTERNAL, external)
    return Cascade.from_result(affected, refused)


def to_resume(rows: Sequence[Workspace]) -> list[Workspace]:
    """Return the first row, which is the root of the others, and the descendants that its pause paused.

    A descendant that was paused by itself stays paused, and so do all below it.
    """
    root = rows[0]
    resumed = {root.pk}
    stay_paused: set[UUID | None] = set()
    for row in rows[1:]:
        is_paused_by_root = row.status == WorkspaceStatus.PAUSED and row.paused_by == root.pk
        if row.parent_id in stay_paused or (row.status == WorkspaceStatus.PAUSED and not is_paused_by_root):
            stay_paused.add(row.pk)
        elif is_paused_by_root:
            resumed.add(row.pk)
    return [row for row in rows if row.pk in resumed]
