"""Pause a workspace and its descendants.

`paused_by` records which ancestor's pause paused a workspace. launching/resume.py resumes exactly those.
"""

from collections.abc import Sequence
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
    """Pause a workspace, and the descendants whose status allows it, and schedule the stop of their processes.

    Raises UnknownWorkspace or TransitionRefused.
    """
    rows = lock_tree(workspace_id)
    check_source(rows[0], PAUSE)
    affected = [row for row in rows if row.status in PAUSE.sources]
    steps = []
    for row in affected:
        paused_by = None if row.pk == workspace_id else workspace_id
        # An external agent sends its URL only once, so the URL stays.
        changes = {"paused_by": paused_by, "url": row.url if row.is_external else ""}
        payload = {"name": row.name, "paused_by": str(paused_by) if paused_by else None}
        steps.append(StatusChange(workspace=row, changes=changes, payload=payload))

    def end_launches(part: Sequence[Workspace]) -> None:
        # The launch of an external workspace, and with it its token, stays valid until the next restart.
        launched_by_us = [row for row in part if not row.is_external]
        launch_records.end_current_launches(launched_by_us, reason=TeardownReason.PAUSED, now=now)

    return Cascade.from_result(affected, transition_each(PAUSE, steps, first=end_launches))
