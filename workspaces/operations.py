"""The operators' verbs for every way in: one service call each, and what follows from it handed to the workers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from postgres.clock import database_now
from workspaces import tasks
from workspaces.models import Workspace
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import TreeChanged, parents_first
from workspaces.services.launching import fail
from workspaces.services.launching import restart as restart_service
from workspaces.services.launching import resume as resume_service
from workspaces.services.launching import wake as wake_service
from workspaces.services.stopping import (
    hibernate as hibernate_service,
)
from workspaces.services.stopping import (
    pause as pause_service,
)
from workspaces.services.stopping import (
    remove as remove_service,
)


@dataclass(frozen=True, kw_only=True)
class Done:
    """Whom a verb moved, the one asked for first, and whom it could not. `token` is shown once and kept nowhere."""

    moved: list[Workspace]
    left: list[Workspace] = field(default_factory=list)
    token: str = ""

    @property
    def workspace(self) -> Workspace:
        return self.moved[0]


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


def restart(workspace_id: UUID) -> Done:
    """Begin a new launch; an external workspace gets a new token."""
    now = database_now()
    restarted = restart_service.restart(workspace_id=workspace_id, now=now)
    tasks.enqueue_due_teardowns(now=now, workspace_id=workspace_id)
    _enqueue_launches([restarted.workspace])
    return Done(moved=[restarted.workspace], token=restarted.token)


def pause(workspace_id: UUID) -> Done:
    """Stop it and all below it, until somebody resumes it."""
    now = database_now()
    cascade = pause_service.pause(workspace_id=workspace_id, now=now)
    tasks.enqueue_due_teardowns(now=now)
    return Done(moved=cascade.moved, left=cascade.left)


def resume(workspace_id: UUID) -> Done:
    """Launch it again, and what its pause took along."""
    cascade = resume_service.resume(workspace_id=workspace_id, now=database_now())
    _enqueue_launches(cascade.moved)
    return Done(moved=cascade.moved, left=cascade.left)


def hibernate(workspace_id: UUID, *, forced: bool = False) -> Done:
    """Stop it until something needs it; forced: though it has active tasks."""
    now = database_now()
    workspace = hibernate_service.hibernate(workspace_id=workspace_id, forced=forced, now=now)
    tasks.enqueue_due_teardowns(now=now, workspace_id=workspace_id)
    return Done(moved=[workspace])


def wake(workspace_id: UUID) -> Done:
    """Launch a hibernated workspace again."""
    workspace = wake_service.wake(workspace_id=workspace_id, now=database_now())
    _enqueue_launches([workspace])
    return Done(moved=[workspace])


def cancel(workspace_id: UUID, *, by: str) -> Done:
    """Fail the present launch because an operator says so."""
    now = database_now()
    workspace = fail.cancel(workspace_id=workspace_id, by=by, now=now)
    tasks.enqueue_due_teardowns(now=now, workspace_id=workspace_id)
    return Done(moved=[workspace])


def remove(workspace_id: UUID, *, confirmed: bool = True) -> Done:
    """Remove it and all below it. Raises HasChildren where there are such and it is not confirmed."""
    now = database_now()
    cascade = remove_service.remove(workspace_id=workspace_id, confirmed=confirmed, now=now)
    tasks.enqueue_due_teardowns(now=now)
    return Done(moved=cascade.moved, left=cascade.left)


def each(workspace_ids: Iterable[UUID], verb: Callable[[UUID], Done], *, past: str) -> Outcome:
    """Apply a verb to each, in a transaction of its own. `past` is how it is called once done: `restarted`.

    What went along with another is no refusal.
    """
    moved: set[UUID] = set()
    refused: list[str] = []
    notes: list[str] = []
    for workspace_id in parents_first(workspace_ids):
        if workspace_id in moved:
            continue
        try:
            done = verb(workspace_id)
        except (TransitionRefused, UnknownWorkspace, TreeChanged, remove_service.HasChildren) as error:
            refused.append(str(error))
            continue
        moved |= {workspace.pk for workspace in done.moved}
        refused += [f"{workspace.name} could not be moved; the log says why." for workspace in done.left]
        if done.token:
            notes.append(f"The new token of {done.workspace.name}, shown this once: {done.token}")
    return Outcome(verb=past, done=len(moved), refused=refused, notes=notes)


def _enqueue_launches(workspaces: Iterable[Workspace]) -> None:
    for workspace in workspaces:
        if not workspace.is_external:
            tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
