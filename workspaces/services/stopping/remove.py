"""Remove a workspace and its descendants, for good.

Deleted at once: secrets and tokens (which answer 410). Deleted when the process is confirmed stopped: the values that
were secret, kept to mask them until then, the working folder and the logs. Kept: the row itself, its launches and its
events.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.access import secrets
from workspaces.lifecycle.transitions import TeardownReason, Verb, WorkspaceStatus, find_transition
from workspaces.models import BackendKind, Launch, Secret, Workspace
from workspaces.provisioners.base import ProvisionerError
from workspaces.provisioners.guarded_calls import DELETE_SECONDS, call
from workspaces.services.core import launch_records
from workspaces.services.core.cascade import Cascade
from workspaces.services.core.transition import StatusChange, TransitionRefused, transition_each
from workspaces.services.core.trees import lock_tree

logger = logging.getLogger(__name__)

REMOVE = find_transition(Verb.REMOVE, WorkspaceStatus.REMOVED)
_WORKSPACES_AT_ONCE = 200
_DELETIONS_AT_ONCE = 4
# One run at a time, since beat asks for the next one while slow deletions keep this one: each takes a worker's thread.
_is_deleting = threading.Lock()


class HasChildren(Exception):
    """The workspace has children, which would be removed too, so confirm. `children` are their (id, name) pairs."""

    def __init__(self, children: list[tuple[UUID, str]]) -> None:
        names = ", ".join(name for _, name in children[:5])
        super().__init__(f"It has {len(children)} children that would be removed too: {names}. Confirm to go on.")
        self.children = children


@transaction.atomic
def remove(*, workspace_id: UUID, confirmed: bool, now: datetime) -> Cascade:
    """Remove a workspace and its descendants.

    Raises UnknownWorkspace, TransitionRefused if it is already removed, HasChildren if not confirmed.
    """
    rows = lock_tree(workspace_id)
    if rows[0].status == WorkspaceStatus.REMOVED:
        raise TransitionRefused(rows[0], "it is already removed.")
    if len(rows) > 1 and not confirmed:
        raise HasChildren([(row.pk, row.name) for row in rows if row.parent_id == workspace_id])
    # The event of the requested one counts its descendants, whose own events count nothing.
    counts = {row.pk: 0 for row in rows} | {workspace_id: len(rows) - 1}
    steps = [StatusChange(workspace=row, payload={"cascade_deleted": counts[row.pk]}) for row in rows]

    def end_launches(part: Sequence[Workspace]) -> None:
        launch_records.end_current_launches(part, reason=TeardownReason.REMOVED, now=now)
        secrets.delete_secrets(Secret.objects.filter(workspace__in=part))

    return Cascade.from_result(rows, transition_each(REMOVE, steps, first=end_launches))


def delete_files(*, now: datetime) -> tuple[list[UUID], list[UUID]]:
    """Delete the files of removed workspaces whose launches are all confirmed stopped.

    Return the ids of those whose files are deleted, and of those where it failed and is tried again. Does nothing while
    another thread of this process is at it.
    """
    deleted: list[UUID] = []
    failed: list[UUID] = []
    if not _is_deleting.acquire(blocking=False):
        return deleted, failed
    try:
        removed = Workspace.objects.filter(status=WorkspaceStatus.REMOVED, files_deleted_at__isnull=True)
        # In any order, so that those which fail each time don't keep the others from their turn.
        stopped = removed.exclude(launches__in=Launch.objects.not_torn_down()).order_by("?")
        rows = list(stopped.values_list("pk", "backend")[:_WORKSPACES_AT_ONCE])
        # Side by side, and each recorded at once: files that take long to delete hold up no other workspace's.
        with ThreadPoolExecutor(_DELETIONS_AT_ONCE) as pool:
            workspace_ids = {pool.submit(_delete, workspace_id, kind): workspace_id for workspace_id, kind in rows}
            for done in as_completed(workspace_ids):
                workspace_id, is_deleted = workspace_ids[done], done.result()
                (deleted if is_deleted else failed).append(workspace_id)
                if is_deleted:
                    Workspace.objects.filter(pk=workspace_id).update(files_deleted_at=now)
    finally:
        _is_deleting.release()
    return deleted, failed


def delete_files_of(workspace_id: UUID, *, now: datetime) -> None:
    """Delete one workspace's files if it is removed and all of its launches are confirmed stopped."""
    removed = Workspace.objects.filter(pk=workspace_id, status=WorkspaceStatus.REMOVED, files_deleted_at__isnull=True)
    kind = removed.exclude(launches__in=Launch.objects.not_torn_down()).values_list("backend", flat=True).first()
    if kind and _delete(workspace_id, kind):
        removed.update(files_deleted_at=now)


def _delete(workspace_id: UUID, kind: str) -> bool:
    if kind == BackendKind.EXTERNAL:
        return True
    try:
        call(kind, "destroy", workspace_id, lambda backend: backend.destroy(workspace_id), seconds=DELETE_SECONDS)
    except ProvisionerError as error:
        logger.warning("A removed workspace's files stay", extra={"workspace_id": workspace_id, "detail": str(error)})
        return False
    return True
