"""What an operation on a tree of workspaces did: whom it moved, and whom the database refused."""

from collections.abc import Sequence
from dataclasses import dataclass

from workspaces.models import Workspace
from workspaces.services.core.transition import StatusChange, TransitionRefused

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
    def of(cls, affected: Sequence[Workspace], left: Sequence[StatusChange]) -> "Cascade":
        """Return who was moved. Raises TransitionRefused, which undoes all, where the one asked for could not be."""
        refused = {step.workspace.pk for step in left}
        if affected[0].pk in refused:
            raise TransitionRefused(affected[0], _LEFT_OUT)
        moved = [row for row in affected if row.pk not in refused]
        return cls(moved=moved, left=[step.workspace for step in left])
