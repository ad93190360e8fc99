"""The result of a verb on a tree of workspaces."""

from collections.abc import Sequence
from dataclasses import dataclass

from workspaces.models import Workspace
from workspaces.services.core.guarded_rows import RowFailure
from workspaces.services.core.transition import StatusChange, TransitionRefused


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """The workspaces that a verb on a tree changed, the requested one first, and those that could not be changed."""

    changed: list[Workspace]
    refused: list[Workspace]

    @property
    def workspace(self) -> Workspace:
        return self.changed[0]

    @classmethod
    def from_result(cls, affected: Sequence[Workspace], refused: Sequence[RowFailure[StatusChange]]) -> "Cascade":
        """Split the affected workspaces, the requested one first, by what could not be changed.

        Raises TransitionRefused, which rolls back the whole verb, if the requested one was refused.
        """
        why = {failure.row.workspace.pk: failure.text for failure in refused}
        if affected[0].pk in why:
            raise TransitionRefused(affected[0], f"{why[affected[0].pk]} Nothing was changed.")
        changed = [row for row in affected if row.pk not in why]
        return cls(changed=changed, refused=[failure.row.workspace for failure in refused])
