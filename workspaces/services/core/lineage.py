"""Who stands above a workspace, for the snapshots by which events are filtered."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from workspaces.models import Workspace

# Parents are stored acyclic; a row that somebody wrote by hand must not make a query run for ever.
_DEEPEST = 1000
_ABOVE = """
WITH RECURSIVE line (start, id, parent_id, depth) AS (
    SELECT id, id, parent_id, 0 FROM workspaces_workspace WHERE id = ANY(%s)
    UNION
    SELECT line.start, above.id, above.parent_id, line.depth + 1
    FROM workspaces_workspace AS above JOIN line ON above.id = line.parent_id WHERE line.depth < %s
)
SELECT start, id FROM line ORDER BY start, depth
"""


def event_subjects(workspaces: Sequence[Workspace]) -> list[dict[str, Any]]:
    """Return for each workspace what its events say of it: the log knows no workspace table."""
    lines = ancestors_by_parent(workspace.parent_id for workspace in workspaces)
    return [
        {"name": workspace.name, "runtime": workspace.runtime, "ancestors": lines[workspace.parent_id]}
        for workspace in workspaces
    ]


def ancestors_by_parent(parent_ids: Iterable[UUID | None]) -> dict[UUID | None, list[str]]:
    """Return for each parent it and all above it, the nearest first: the ancestors of its children.

    One query for all, and none where nobody has a parent.
    """
    lines: dict[UUID | None, list[str]] = {None: []}
    asked = {parent_id for parent_id in parent_ids if parent_id}
    if not asked:
        return lines
    with connection.cursor() as cursor:
        cursor.execute(_ABOVE, [list(asked), _DEEPEST])
        for start, above in cursor.fetchall():
            lines.setdefault(start, []).append(str(above))
    return lines
