"""Resume a paused workspace and the descendants that its pause took along; the others stay paused."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import Verb, WorkspaceStatus, find_transition
from workspaces.models import Workspace
from workspaces.services.core.cascade import Cascade
from workspaces.services.core.transition import StatusChange, check_source, transition_each
from workspaces.services.core.trees import lock_tree, refuse_under_paused
from workspaces.services.launching.relaunch import begin_launches

RESUME = find_transition(Verb.RESUME, WorkspaceStatus.PROVISIONING)
RESUME_EXTERNAL = find_transition(Verb.RESUME, WorkspaceStatus.AWAITING_AGENT)


@transaction.atomic
def resume(*, workspace_id: UUID, now: datetime) -> Cascade:
    """Launch it again, and what its pause took along. The caller enqueues the launches on commit.

    External ones await their agent, whose token still holds. Raises UnknownWorkspace, or TransitionRefused, also
    under a paused ancestor.
    """
    rows = lock_tree(workspace_id)
    check_source(rows[0], RESUME)
    refuse_under_paused(rows[0])
    affected = _taken_along(rows)
    external = [row for row in affected if row.is_external]
    left = begin_launches([row for row in affected if not row.is_external], row=RESUME, now=now)
    left += transition_each(
        RESUME_EXTERNAL, [StatusChange(workspace=row, payload={"name": row.name}) for row in external]
    )
    return Cascade.of(affected, left)


def _taken_along(rows: Sequence[Workspace]) -> list[Workspace]:
    """Return the first row and those of the others that its pause took along, unless one between them stays paused."""
    asked = rows[0]
    coming = {asked.pk}
    stay_paused: set[UUID | None] = set()
    for row in rows[1:]:
        is_taken_along = row.status == WorkspaceStatus.PAUSED and row.paused_by == asked.pk
        if row.parent_id in stay_paused or (row.status == WorkspaceStatus.PAUSED and not is_taken_along):
            stay_paused.add(row.pk)
        elif is_taken_along:
            coming.add(row.pk)
    return [row for row in rows if row.pk in coming]
