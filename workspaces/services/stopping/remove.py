"""Remove a workspace and its descendants: terminal.

Gone at once: its secrets, and every token (they answer 410). Gone once its process is confirmed stopped: its working
folder and logs. What stays: the row itself, its launches and its events.
"""

import logging
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.lifecycle.transitions import TeardownReason, Verb, WorkspaceStatus, find_transition
from workspaces.models import BackendKind, Launch, Secret, Workspace
from workspaces.provisioners.base import ProvisionerError
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.core import launch_records
from workspaces.services.core.cascade import Cascade
from workspaces.services.core.transition import StatusChange, TransitionRefused, transition_each
from workspaces.services.core.trees import lock_tree

logger = logging.getLogger(__name__)

REMOVE = find_transition(Verb.REMOVE, WorkspaceStatus.REMOVED)
_FOLDERS_AT_ONCE = 200


class HasChildren(Exception):
    """The workspace has children, which would go with it: say that this is meant. `children` are their (id, name)."""

    def __init__(self, children: list[tuple[UUID, str]]) -> None:
        names = ", ".join(name for _, name in children[:5])
        super().__init__(f"It has {len(children)} children that would be removed too: {names}. Confirm to go on.")
        self.children = children


@transaction.atomic
def remove(*, workspace_id: UUID, confirmed: bool, now: datetime) -> Cascade:
    """Remove it and all below it.

    Raises UnknownWorkspace, TransitionRefused for one that is removed already, HasChildren where not confirmed.
    """
    rows = lock_tree(workspace_id)
    if rows[0].status == WorkspaceStatus.REMOVED:
        raise TransitionRefused(rows[0], "it is removed already.")
    if len(rows) > 1 and not confirmed:
        raise HasChildren([(row.pk, row.name) for row in rows if row.parent_id == workspace_id])
    steps = [StatusChange(workspace=row, payload=_payload(row, workspace_id, len(rows) - 1)) for row in rows]
    cascade = Cascade.of(rows, transition_each(REMOVE, steps))
    launch_records.end_current_launches(cascade.moved, reason=TeardownReason.REMOVED, now=now)
    Secret.objects.filter(workspace__in=cascade.moved).delete()
    return cascade


def _payload(row: Workspace, asked_for: UUID, descendants: int) -> dict[str, int]:
    return {"cascade_deleted": descendants if row.pk == asked_for else 0}


def delete_files(*, now: datetime) -> tuple[list[UUID], list[UUID]]:
    """Delete the files of removed workspaces of which nothing runs any more; return whose are gone and whose stay."""
    removed = Workspace.objects.filter(status=WorkspaceStatus.REMOVED, files_deleted_at__isnull=True)
    idle = removed.exclude(launches__in=Launch.objects.not_torn_down()).order_by("pk")
    gone: list[UUID] = []
    stay: list[UUID] = []
    for workspace_id, kind in idle.values_list("pk", "backend")[:_FOLDERS_AT_ONCE]:
        (gone if _delete(workspace_id, kind) else stay).append(workspace_id)
    Workspace.objects.filter(pk__in=gone).update(files_deleted_at=now)
    return gone, stay


def delete_files_of(workspace_id: UUID, *, now: datetime) -> None:
    """Delete one removed workspace's files, unless something of it may run still; what is left is tried again."""
    removed = Workspace.objects.filter(pk=workspace_id, status=WorkspaceStatus.REMOVED, files_deleted_at__isnull=True)
    kind = removed.exclude(launches__in=Launch.objects.not_torn_down()).values_list("backend", flat=True).first()
    if kind and _delete(workspace_id, kind):
        removed.update(files_deleted_at=now)


def _delete(workspace_id: UUID, kind: str) -> bool:
    if kind == BackendKind.EXTERNAL:
        return True
    try:
        get_provisioner(kind).destroy(workspace_id)
    except ProvisionerError as error:
        logger.warning("A removed workspace's files stay", extra={"workspace_id": workspace_id, "detail": str(error)})
        return False
    return True
