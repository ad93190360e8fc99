"""Remove a workspace and its descendants: terminal.

Gone at once: its secrets, and every token (they answer 410). Gone once its process is confirmed stopped: its working
folder and logs. What stays: the row itself, its launches and its events.
"""

from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from workspaces.lifecycle import TeardownReason, Verb, WorkspaceStatus, transition
from workspaces.models import Secret, Workspace
from workspaces.services import launches
from workspaces.services.moving import Step, TransitionRefused, UnknownWorkspace, lock, move

REMOVE = transition(Verb.REMOVE, WorkspaceStatus.REMOVED)

_DESCENDANTS = """
WITH RECURSIVE tree (id, depth) AS (
    SELECT id, 0 FROM workspaces_workspace WHERE id = %s
    UNION ALL
    SELECT child.id, tree.depth + 1 FROM workspaces_workspace AS child JOIN tree ON child.parent_id = tree.id
    WHERE child.status <> %s AND tree.depth < 1000
)
SELECT DISTINCT id FROM tree
"""


class HasChildren(Exception):
    """The workspace has children, which would go with it: say that this is meant. `children` are their (id, name)."""

    def __init__(self, children: list[tuple[UUID, str]]) -> None:
        names = ", ".join(name for _, name in children[:5])
        super().__init__(f"It has {len(children)} children that would be removed too: {names}. Confirm to go on.")
        self.children = children


@transaction.atomic
def remove(*, workspace_id: UUID, confirmed: bool, now: datetime) -> int:
    """Remove it and all below it; return how many descendants went along.

    Raises UnknownWorkspace, TransitionRefused for one that is removed already, HasChildren where not confirmed.
    """
    rows = [row for row in lock(with_descendants(workspace_id)) if row.status != WorkspaceStatus.REMOVED]
    if not any(row.pk == workspace_id for row in rows):
        _refuse(workspace_id)
    if len(rows) > 1 and not confirmed:
        raise HasChildren([(row.pk, row.name) for row in rows if row.parent_id == workspace_id])
    launches.end_present(rows, reason=TeardownReason.REMOVED, now=now)
    Secret.objects.filter(workspace__in=rows).delete()
    move(REMOVE, [Step(workspace=row, payload=_payload(row, workspace_id, len(rows) - 1)) for row in rows])
    return len(rows) - 1


def _payload(row: Workspace, asked_for: UUID, descendants: int) -> dict[str, int]:
    return {"cascade_deleted": descendants if row.pk == asked_for else 0}


def with_descendants(workspace_id: UUID) -> list[UUID]:
    """Return the workspace's id and those of all below it that are not removed: what its removal takes along."""
    with connection.cursor() as cursor:
        cursor.execute(_DESCENDANTS, [workspace_id, WorkspaceStatus.REMOVED.value])
        return [row[0] for row in cursor.fetchall()]


def _refuse(workspace_id: UUID) -> None:
    present = Workspace.objects.filter(pk=workspace_id).first()
    if present is None:
        raise UnknownWorkspace(workspace_id)
    raise TransitionRefused(present, "it is removed already.")
