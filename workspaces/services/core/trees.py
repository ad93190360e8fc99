"""Locks on trees of workspaces, and the change of a parent.

The root of a tree is its mutex: a verb on a tree locks the root first, then the affected rows in id order.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.lineage import lineages, with_descendants
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace, lock_workspace, lock_workspaces

# Each attempt fails only if another transaction changed a parent in between.
_LOCK_ATTEMPTS = 20


class TreeChanged(Exception):
    """The tree kept changing while its lock was waited for; nothing was changed. Try again."""

    def __init__(self) -> None:
        super().__init__("The workspace's tree kept changing. Try again.")


class BadParent(ValueError):
    """The workspace can't get this parent; the message says why. Nothing was changed."""


def lock_roots(workspace_ids: Iterable[UUID]) -> None:
    """Lock the roots of these workspaces' trees, in id order. Call it before any other lock. Raises TreeChanged."""
    ids = list(workspace_ids)
    for _ in range(_LOCK_ATTEMPTS):
        with transaction.atomic():
            roots = _roots(ids)
            lock_workspaces(roots)
            if _roots(ids) == roots:
                return
            # A tree was put under another root: release the locks, so that the new roots are locked in id order.
            transaction.set_rollback(True)
    raise TreeChanged


def _roots(workspace_ids: list[UUID]) -> list[UUID]:
    return sorted({lineage[-1] for lineage in lineages(workspace_ids).values()})


def lock_tree(workspace_id: UUID) -> list[Workspace]:
    """Lock the root, the workspace and its descendants that are not removed. Raises UnknownWorkspace.

    Return the workspace and these descendants, parents before children.
    """
    lock_roots([workspace_id])
    ids = with_descendants(workspace_id)
    if not ids:
        raise UnknownWorkspace(workspace_id)
    rows = {row.pk: row for row in lock_workspaces(ids)}
    return [rows[pk] for pk in ids]


def lock_in_tree(workspace_id: UUID) -> Workspace:
    """Lock the root, then this one workspace, and return it. Raises UnknownWorkspace."""
    lock_roots([workspace_id])
    return lock_workspace(workspace_id)


def lock_parent(parent_id: UUID) -> Workspace:
    """Lock a future parent and its root. Raises BadParent if it is unknown, removed, paused or below a paused one."""
    lock_roots([parent_id])
    parent = next(iter(lock_workspaces([parent_id])), None)
    if parent is None or parent.status == WorkspaceStatus.REMOVED:
        raise BadParent(f"There is no workspace {parent_id} that could be the parent.")
    if paused := _nearest_paused([parent_id, *ancestors(parent_id)]):
        raise BadParent(f"{paused.name} is paused. Resume it before you put anything under it.")
    return parent


def ancestors(workspace_id: UUID) -> list[UUID]:
    """Return the ids of the workspace's ancestors: its parent first, the root last."""
    return lineages([workspace_id]).get(workspace_id, [])[1:]


def parents_first(workspace_ids: Iterable[UUID]) -> list[UUID]:
    """Return these ids ordered by depth, roots first and unknown ones last: an ancestor precedes its descendants."""
    asked = list(workspace_ids)
    found = lineages(asked)
    known = sorted(found, key=lambda pk: (len(found[pk]), pk))
    return known + [pk for pk in asked if pk not in found]


def check_no_paused_ancestor(workspace: Workspace) -> None:
    """Raise TransitionRefused if an ancestor is paused. Call it under the root's lock, which a pause takes too."""
    if paused := _nearest_paused(ancestors(workspace.pk)):
        raise TransitionRefused(workspace, f"its ancestor {paused.name} is paused. Resume {paused.name} first.")


def _nearest_paused(lineage: list[UUID]) -> Workspace | None:
    paused = {row.pk: row for row in Workspace.objects.filter(pk__in=lineage, status=WorkspaceStatus.PAUSED)}
    return next((paused[pk] for pk in lineage if pk in paused), None)


@transaction.atomic
def reparent(*, workspace_id: UUID, parent_id: UUID | None) -> Workspace:
    """Put a workspace and its descendants under another parent, or make it a root. Writes no event.

    Raises UnknownWorkspace, TransitionRefused for a removed one, BadParent.
    """
    lock_roots([workspace_id, *([parent_id] if parent_id else [])])
    workspace = lock_workspace(workspace_id)
    if workspace.status == WorkspaceStatus.REMOVED:
        raise TransitionRefused(workspace, "it can't get another parent.")
    subtree = with_descendants(workspace_id)
    if parent_id in subtree:
        raise BadParent(f"{workspace.name} can't be put under itself or one of its descendants.")
    if parent_id:
        lock_parent(parent_id)
    # A pause of a former ancestor: its resume no longer reaches these, so they count as paused by themselves.
    paused = Workspace.objects.filter(pk__in=subtree, paused_by__isnull=False)
    paused.exclude(paused_by__in=subtree).update(paused_by=None)
    Workspace.objects.filter(pk=workspace_id).update(parent_id=parent_id)
    workspace.parent_id = parent_id
    return workspace
