"""The result of a verb on a tree of workspaces."""

from collections.abc import Sequence
from dataclasses import dataclass

from workspaces.models import Workspace
from workspaces.services.core.transition import StatusChange, TransitionRefused


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """The workspaces that a verb on a tree changed, the requested one first, and those that the database refused."""

    changed: list[Workspace]
    refused: list[Workspace]

    @property
    def workspace(self) -> Workspace:
        return self.changed[0]

    @classmethod
    def from_result(cls, affected: Sequence[Workspace], refused: Sequence[StatusChange]) -> "Cascade":
        """Split the affected workspaces, the requested one first, by what the database refused.

        Raises TransitionRefused, which rolls back the whole verb, if the requested one was refused.
        """
        refused_ids = {step.workspace.pk for step in refused}
        if affected[0].pk in refused_ids:
            raise TransitionRefused(affected[0], "the database refused it; the log says why.")
        changed = [row for row in affected if row.pk not in refused_ids]
        return cls(changed=changed, refused=[step.workspace for step in refused])
