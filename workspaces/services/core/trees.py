"""Trees of workspaces: who stands above and below, the lock that a whole tree shares, and a change of parent.

A tree's root is its mutex: a verb that concerns a tree locks the root first, then the rows it moves, in id order.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace, lock_workspaces

# A tree that changes hands this often while one verb waits for it is no tree of workspaces.
_LOCK_ATTEMPTS = 20
# Parents are stored acyclic; a row that somebody wrote by hand must not make a query run for ever.
_DEEPEST = 1000

_LINES = """
WITH RECURSIVE line (id, parent_id, depth) AS (
    SELECT id, parent_id, 0 FROM workspaces_workspace WHERE id = ANY(%s)
    UNION
    SELECT above.id, above.parent_id, line.depth + 1
    FROM workspaces_workspace AS above JOIN line ON above.id = line.parent_id WHERE line.depth < %s
)
SELECT id, parent_id, depth FROM line ORDER BY depth, id
"""
_DESCENDANTS = """
WITH RECURSIVE tree (id, depth) AS (
    SELECT id, 0 FROM workspaces_workspace WHERE id = %s
    UNION ALL
    SELECT child.id, tree.depth + 1 FROM workspaces_workspace AS child JOIN tree ON child.parent_id = tree.id
    WHERE child.status <> %s AND tree.depth < %s
)
SELECT id FROM tree GROUP BY id ORDER BY min(depth), id
"""


_DEPTHS = """
WITH RECURSIVE line (id, parent_id, depth) AS (
    SELECT id, parent_id, 0 FROM workspaces_workspace WHERE id = ANY(%s)
    UNION ALL
    SELECT line.id, above.parent_id, line.depth + 1
    FROM workspaces_workspace AS above JOIN line ON above.id = line.parent_id WHERE line.depth < %s
)
SELECT id FROM line GROUP BY id ORDER BY max(depth), id
"""


class TreeChanged(Exception):
    """The tree changed hands all the while; nothing was changed. Try again."""

    def __init__(self) -> None:
        super().__init__("The workspace's tree kept changing while it was waited for. Try again.")


class BadParent(ValueError):
    """The workspace can't be put under this parent; the message says why. Nothing was changed."""


def lock_roots(workspace_ids: Iterable[UUID]) -> None:
    """Lock the roots of these workspaces' trees, in id order, before any other row. Raises TreeUnsteady."""
    asked = list(workspace_ids)
    for _ in range(_LOCK_ATTEMPTS):
        if _lock_roots_as_seen(asked):
            return
    raise TreeChanged


def lock_tree(workspace_id: UUID) -> list[Workspace]:
    """Lock the root, then the workspace and all below it that is not removed; return these, the upper ones first.

    Raises UnknownWorkspace.
    """
    lock_roots([workspace_id])
    below = with_descendants(workspace_id)
    rows = {row.pk: row for row in lock_workspaces(below)}
    if workspace_id not in rows:
        raise UnknownWorkspace(workspace_id)
    return [rows[pk] for pk in below]


def lock_in_tree(workspace_id: UUID) -> Workspace:
    """Lock the root, then this one workspace. Raises UnknownWorkspace."""
    lock_roots([workspace_id])
    rows = lock_workspaces([workspace_id])
    if not rows:
        raise UnknownWorkspace(workspace_id)
    return rows[0]


def with_descendants(workspace_id: UUID) -> list[UUID]:
    """Return the workspace's id and those of all below it that are not removed, the upper ones first."""
    return [pk for (pk,) in _fetch(_DESCENDANTS, [workspace_id, WorkspaceStatus.REMOVED.value, _DEEPEST])]


def parents_first(workspace_ids: Iterable[UUID]) -> list[UUID]:
    """Return these ids, each before those below it: so that what goes along with another is known by then."""
    asked = list(workspace_ids)
    known = [pk for (pk,) in _fetch(_DEPTHS, [asked, _DEEPEST])]
    return known + [pk for pk in asked if pk not in set(known)]


def ancestors(workspace_id: UUID) -> list[UUID]:
    """Return the ids of all above the workspace, the nearest first."""
    return [pk for pk, _, depth in _fetch(_LINES, [[workspace_id], _DEEPEST]) if depth]


def refuse_under_paused(workspace: Workspace) -> None:
    """Raise TransitionRefused where an ancestor is paused. Asked under the root's lock, which a pause holds too."""
    if paused := _nearest_paused(ancestors(workspace.pk)):
        raise TransitionRefused(workspace, f"{paused.name}, above it, is paused. Resume that one first.")


def lock_parent(parent_id: UUID) -> Workspace:
    """Lock a parent-to-be and its root. Raises BadParent where nothing may be put under it now."""
    lock_roots([parent_id])
    parent = next(iter(lock_workspaces([parent_id])), None)
    if parent is None or parent.status == WorkspaceStatus.REMOVED:
        raise BadParent(f"There is no workspace {parent_id} to be the parent.")
    if paused := _nearest_paused([parent_id, *ancestors(parent_id)]):
        raise BadParent(f"{paused.name} is paused: resume it before anything is put under it.")
    return parent


@transaction.atomic
def reparent(*, workspace_id: UUID, parent_id: UUID | None) -> Workspace:
    """Put a workspace with all below it under another parent, or at the top. No move of its status, so no event.

    Raises UnknownWorkspace, TransitionRefused for a removed one, BadParent.
    """
    lock_roots([workspace_id, *([parent_id] if parent_id else [])])
    workspace = next(iter(lock_workspaces([workspace_id])), None)
    if workspace is None:
        raise UnknownWorkspace(workspace_id)
    if workspace.status == WorkspaceStatus.REMOVED:
        raise TransitionRefused(workspace, "it can't get another parent.")
    below = with_descendants(workspace_id)
    if parent_id in below:
        raise BadParent(f"{workspace.name} can't be put under itself, nor under what stands below it.")
    if parent_id:
        lock_parent(parent_id)
    _leave_pauses_behind(below)
    Workspace.objects.filter(pk=workspace_id).update(parent_id=parent_id)
    workspace.parent_id = parent_id
    return workspace


def _leave_pauses_behind(moved: list[UUID]) -> None:
    """Let what a former ancestor's pause took along stand paused by itself: that one's resume reaches it no more."""
    taken_along = Workspace.objects.filter(pk__in=moved, paused_by__isnull=False)
    taken_along.exclude(paused_by__in=moved).update(paused_by=None)


@transaction.atomic
def _lock_roots_as_seen(workspace_ids: list[UUID]) -> bool:
    """Lock the roots; tell whether they still are. If not, the locks are let go: others may be needed before them."""
    seen = _roots(workspace_ids)
    lock_workspaces(seen)
    if _roots(workspace_ids) == seen:
        return True
    transaction.set_rollback(True)
    return False


def _roots(workspace_ids: list[UUID]) -> list[UUID]:
    return sorted({pk for pk, parent_id, _ in _fetch(_LINES, [workspace_ids, _DEEPEST]) if parent_id is None})


def _nearest_paused(line: list[UUID]) -> Workspace | None:
    paused = {row.pk: row for row in Workspace.objects.filter(pk__in=line, status=WorkspaceStatus.PAUSED)}
    return next((paused[pk] for pk in line if pk in paused), None)


def _fetch(statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
