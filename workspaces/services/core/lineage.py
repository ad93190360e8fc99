"""Ancestors and descendants of workspaces, each read by one recursive query."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import sql

from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace

# Parents are stored without cycles. The limit ends the query even if somebody wrote a cycle by hand.
_MAX_DEPTH = 1000
_WALK = sql.SQL("""
WITH RECURSIVE walk (start, id, parent_id, depth) AS (
    SELECT id, id, parent_id, 0 FROM workspaces_workspace WHERE id = ANY(%(starts)s)
    UNION ALL
    SELECT walk.start, next.id, next.parent_id, walk.depth + 1
    FROM walk JOIN workspaces_workspace AS next ON {step}
    WHERE walk.depth < %(max_depth)s
)
SELECT start, id FROM walk ORDER BY start, depth, id
""")
_TO_PARENT = sql.SQL("next.id = walk.parent_id")
_TO_CHILDREN = sql.SQL("next.parent_id = walk.id AND next.status <> %(removed)s")


def lineages(workspace_ids: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """Return each workspace's lineage: itself, its parent, and so on up to the root. Unknown ids are left out.

    One query for all ids, none for no ids. In the tree root > middle > leaf, with another root `single`,
    `lineages([leaf, single])` is `{leaf: [leaf, middle, root], single: [single]}`.
    """
    return _walk(_TO_PARENT, workspace_ids)


def with_descendants(workspace_id: UUID) -> list[UUID]:
    """Return the workspace's id and those of its descendants that are not removed, parents before children.

    In the tree root > (left > leaf, right), `with_descendants(root)` is `[root, left, right, leaf]`, with the ids of
    one generation in ascending order. Below a removed workspace nothing is looked for.
    """
    return _walk(_TO_CHILDREN, [workspace_id]).get(workspace_id, [])


def ancestors_by_parent(parent_ids: Iterable[UUID | None]) -> dict[UUID | None, list[str]]:
    """Return for each parent id the ancestors of its children as strings: the parent first, the root last.

    None, the parent of a root, maps to an empty list. One query for all parents, none if there are only roots.
    """
    found = lineages({parent_id for parent_id in parent_ids if parent_id})
    return {None: []} | {parent_id: [str(pk) for pk in lineage] for parent_id, lineage in found.items()}


def event_subjects(workspaces: Sequence[Workspace]) -> list[dict[str, Any]]:
    """Return for each workspace the snapshot that its events carry: `{name, runtime, ancestors}`.

    The event log filters by it and has no access to the table of workspaces.
    """
    ancestors = ancestors_by_parent(workspace.parent_id for workspace in workspaces)
    return [
        {"name": workspace.name, "runtime": workspace.runtime, "ancestors": ancestors[workspace.parent_id]}
        for workspace in workspaces
    ]


def _walk(step: sql.SQL, starts: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """Return for each start the ids that are reached from it, the nearest first."""
    reached: dict[UUID, list[UUID]] = {}
    if not (ids := list(starts)):
        return reached
    with connection.cursor() as cursor:
        cursor.execute(
            _WALK.format(step=step),
            {"starts": ids, "max_depth": _MAX_DEPTH, "removed": WorkspaceStatus.REMOVED.value},
        )
        for start, pk in cursor.fetchall():
            reached.setdefault(start, []).append(pk)
    return reached
