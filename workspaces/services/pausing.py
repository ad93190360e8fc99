"""Pause and resume a workspace with all below it.

`paused_by` remembers whose pause took a workspace along: a resume brings back what that very pause stopped, and leaves
what was paused for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle import TeardownReason, Verb, WorkspaceStatus, transition
from workspaces.models import Workspace
from workspaces.services import launches
from workspaces.services.moving import Step, TransitionRefused, check_source, move_all_possible
from workspaces.services.relaunching import begin_launches
from workspaces.services.trees import lock_tree, refuse_under_paused

PAUSE = transition(Verb.PAUSE, WorkspaceStatus.PAUSED)
RESUME = transition(Verb.RESUME, WorkspaceStatus.PROVISIONING)
RESUME_EXTERNAL = transition(Verb.RESUME, WorkspaceStatus.AWAITING_AGENT)
_LEFT_OUT = "the database refused it; the log says why."


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """What a verb on a tree moved, the one it was asked for first, and what it could not move."""

    moved: list[Workspace]
    left: list[Workspace]

    @property
    def workspace(self) -> Workspace:
        return self.moved[0]

    @classmethod
    def of(cls, affected: Sequence[Workspace], left: Sequence[Step]) -> "Cascade":
        """Return who was moved. Raises TransitionRefused, which undoes all, where the one asked for could not be."""
        refused = {step.workspace.pk for step in left}
        if affected[0].pk in refused:
            raise TransitionRefused(affected[0], _LEFT_OUT)
        moved = [row for row in affected if row.pk not in refused]
        return cls(moved=moved, left=[step.workspace for step in left])


@transaction.atomic
def pause(*, workspace_id: UUID, now: datetime) -> Cascade:
    """Pause it and all below it that runs or may run again, and mean their processes to stop.

    Raises UnknownWorkspace or TransitionRefused.
    """
    rows = lock_tree(workspace_id)
    check_source(rows[0], PAUSE)
    affected = [row for row in rows if row.status in PAUSE.sources]
    left = move_all_possible(PAUSE, [_pause_step(row, asked_for=workspace_id) for row in affected])
    cascade = Cascade.of(affected, left)
    # An external one's launch is its own: it lasts until its next restart.
    ours = [row for row in cascade.moved if not row.is_external]
    launches.end_present(ours, reason=TeardownReason.PAUSED, now=now)
    return cascade


def _pause_step(row: Workspace, *, asked_for: UUID) -> Step:
    took_along = None if row.pk == asked_for else asked_for
    payload = {"name": row.name, "paused_by": str(took_along) if took_along else None}
    # Whoever runs an external one keeps its address, and sends it only once.
    return Step(
        workspace=row, changes={"paused_by": took_along, "url": row.url if row.is_external else ""}, payload=payload
    )


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
    left += move_all_possible(RESUME_EXTERNAL, [Step(workspace=row, payload={"name": row.name}) for row in external])
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
