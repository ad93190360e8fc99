"""What an operator can do in the admin, in words: each verb on each workspace, and what came of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from django.db import transaction

from workspaces import tasks
from workspaces.clock import database_now
from workspaces.services import removing, restarting
from workspaces.services.moving import TransitionRefused, UnknownWorkspace


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a verb went on several workspaces. `notes` are shown once and kept nowhere."""

    verb: str
    done: int = 0
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """Return it in one sentence: `2 restarted, 1 refused: …`."""
        parts = [f"{self.done} {self.verb}"] if self.done or not self.refused else []
        if self.refused:
            parts.append(f"{len(self.refused)} refused: {' '.join(self.refused)}")
        sentence = ", ".join(parts)
        return sentence if sentence.endswith(".") else sentence + "."


def restart_each(workspace_ids: Iterable[UUID]) -> Outcome:
    """Restart each, in a transaction of its own."""
    notes: list[str] = []

    def restart(workspace_id: UUID) -> int:
        restarted = _restart(workspace_id)
        if restarted.token:
            notes.append(f"The new token of {restarted.workspace.name}, shown this once: {restarted.token}")
        return 1

    done, refused = _each(workspace_ids, restart)
    return Outcome(verb="restarted", done=done, refused=refused, notes=notes)


def remove_each(workspace_ids: Iterable[UUID]) -> Outcome:
    """Remove each with all below it, in a transaction of its own. What went along with another is no refusal."""
    expected = set(workspace_ids)
    gone: set[UUID] = set()

    def remove(workspace_id: UUID) -> int:
        if workspace_id in gone:
            return 0
        tree = set(removing.with_descendants(workspace_id))
        removed = 1 + _remove(workspace_id)
        gone.update(tree)
        return removed

    done, refused = _each(sorted(expected), remove)
    return Outcome(verb="removed", done=done, refused=refused)


def _restart(workspace_id: UUID) -> restarting.Restarted:
    now = database_now()
    with transaction.atomic():
        restarted = restarting.restart(workspace_id=workspace_id, now=now)
        if not restarted.workspace.is_external:
            tasks.enqueue_launch(workspace_id=workspace_id, launch_id=restarted.workspace.launch_id)
    return restarted


def _remove(workspace_id: UUID) -> int:
    now = database_now()
    descendants = removing.remove(workspace_id=workspace_id, confirmed=True, now=now)
    tasks.enqueue_due_teardowns(now=now)
    return descendants


def _each(workspace_ids: Iterable[UUID], verb: Callable[[UUID], int]) -> tuple[int, list[str]]:
    done, refused = 0, []
    for workspace_id in workspace_ids:
        try:
            done += verb(workspace_id)
        except (TransitionRefused, UnknownWorkspace) as error:
            refused.append(str(error))
    return done, refused
