"""The reaper: stops backend objects that nothing needs any more.

It asks the backends what runs, whatever the database says. So it finds what a crash, a lost race or an operator left.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from workspaces.lifecycle.transitions import STOPPED, TeardownReason, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import DEAD_STATES, LaunchKey, ProvisionerError
from workspaces.provisioners.guarded_calls import LIST_SECONDS, call, stop
from workspaces.provisioners.kinds import LAUNCHED_KINDS
from workspaces.services.core.guarded_rows import RowGuard, by_launch
from workspaces.services.core.transition import UnknownWorkspace, lock_workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """The result of a reaper's run.

    `scheduled`: ids of launches whose stop it scheduled. `unknown`: objects without a row, with their backend's
    kind. `unreachable`: kinds of backends that could not be asked.
    """

    scheduled: list[UUID] = field(default_factory=list)
    unknown: list[tuple[str, LaunchKey]] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.scheduled or self.unknown or self.unreachable)


def reap(*, now: datetime) -> Reaped:
    """Ask each backend for its objects and schedule the stop of those that nothing needs.

    Objects without a row are only returned; pass them to `stop_unknown`. A backend that can't be asked is skipped.
    """
    reaped = Reaped()
    guard = RowGuard[UUID](what="An object could not be judged", ids=by_launch)
    for kind in LAUNCHED_KINDS:
        try:
            keys = _running_launches(kind)
            torn_down = Launch.objects.filter(pk__in=[key.launch_id for key in keys], torn_down_at__isnull=False)
            gone = set(torn_down.values_list("pk", flat=True))
            # List those that were confirmed gone again, since most were confirmed after the first listing.
            again = _running_launches(kind) if gone else []
        except ProvisionerError as error:
            logger.warning("A backend can't be asked for its objects", extra={"backend": kind, "detail": str(error)})
            reaped.unreachable.append(kind)
            continue
        keys = [key for key in keys if key.launch_id not in gone or key in again]
        # Read after the listing: a launch is committed before its object is created, so every object has its row.
        known = set(Launch.objects.filter(pk__in=[key.launch_id for key in keys]).values_list("pk", flat=True))
        reaped.unknown.extend((kind, key) for key in keys if key.launch_id not in known)
        for key in keys:
            with guard.handling(key.launch_id):
                if key.launch_id in known and _schedule_if_unneeded(key, is_gone=key.launch_id in gone, now=now):
                    reaped.scheduled.append(key.launch_id)
    return reaped


def _running_launches(kind: str) -> list[LaunchKey]:
    return call(kind, "list", kind, lambda backend: backend.running_launches(), seconds=LIST_SECONDS)


@transaction.atomic
def _schedule_if_unneeded(key: LaunchKey, *, is_gone: bool, now: datetime) -> bool:
    """Schedule the stop of an object that nothing needs, under its workspace's lock; return whether it did.

    `is_gone` says that the launch was confirmed gone before the backend listed its object again.
    """
    try:
        workspace = lock_workspace(key.workspace_id)
    except UnknownWorkspace:
        return False
    launch = Launch.objects.filter(pk=key.launch_id).first()
    if launch is None or is_needed(workspace, launch):
        return False
    if launch.torn_down_at is not None and not is_gone:
        return False
    reason = launch.teardown_reason or TeardownReason.REAPED
    # Also if it was once confirmed or declared gone: the backend has it now.
    Launch.objects.filter(pk=launch.pk).update(teardown_at=now, teardown_reason=reason, torn_down_at=None)
    # It may have written files again after those of a removed workspace were deleted.
    Workspace.objects.filter(pk=workspace.pk).update(files_deleted_at=None)
    logger.warning("An object that nothing needs is to be stopped", extra={"launch_id": launch.pk})
    return True


def is_needed(workspace: Workspace, launch: Launch) -> bool:
    """Return whether an existing object is left alone: its launch is current and should run, or a stop is scheduled."""
    if launch.torn_down_at is not None:
        return False
    if launch.teardown_at is not None:
        return True
    return launch.pk == workspace.launch_id and workspace.status not in (*STOPPED, WorkspaceStatus.FAILED)


def stop_unknown(kind: str, key: LaunchKey) -> bool:
    """Stop an object unless a row knows it by now. Return whether it is gone; if not, the next run finds it again."""
    if Launch.objects.filter(pk=key.launch_id).exists():
        return False
    try:
        seen = stop(kind, key, timeout_seconds=settings.AGENT_STOP_SECONDS)
    except ProvisionerError as error:
        logger.warning(
            "An unknown object could not be stopped", extra={"launch_id": key.launch_id, "detail": str(error)}
        )
        return False
    is_gone = seen.state in DEAD_STATES
    logger.warning("An unknown object was stopped", extra={"launch_id": key.launch_id, "is_gone": is_gone})
    return is_gone
