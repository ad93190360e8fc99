"""Pause a workspace and its descendants.

`paused_by` records whose pause took a workspace along; resume (launching/resume.py) brings back exactly those.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import TeardownReason, Verb, WorkspaceStatus, find_transition
from workspaces.models import Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.cascade import Cascade
from workspaces.services.core.transition import StatusChange, check_source, transition_each
from workspaces.services.core.trees import lock_tree

PAUSE = find_transition(Verb.PAUSE, WorkspaceStatus.PAUSED)


@transaction.atomic
def pause(*, workspace_id: UUID, now: datetime) -> Cascade:
    """Pause it and all below it that runs or may run again, and mean their processes to stop.

    Raises UnknownWorkspace or TransitionRefused.
    """
    rows = lock_tree(workspace_id)
    check_source(rows[0], PAUSE)
    affected = [row for row in rows if row.status in PAUSE.sources]
    left = transition_each(PAUSE, [_pause_step(row, asked_for=workspace_id) for row in affected])
    cascade = Cascade.of(affected, left)
    # An external one's launch is its own: it lasts until its next restart.
    ours = [row for row in cascade.moved if not row.is_external]
    launch_records.end_current_launches(ours, reason=TeardownReason.PAUSED, now=now)
    return cascade


def _pause_step(row: Workspace, *, asked_for: UUID) -> StatusChange:
    took_along = None if row.pk == asked_for else asked_for
    payload = {"name": row.name, "paused_by": str(took_along) if took_along else None}
    # Whoever runs an external one keeps its address, and sends it only once.
    return StatusChange(
        workspace=row, changes={"paused_by": took_along, "url": row.url if row.is_external else ""}, payload=payload
    )
