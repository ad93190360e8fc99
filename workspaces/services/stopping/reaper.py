"""The reaper: finds backend objects that nothing needs any more, and has them stopped.

Whatever a crash, a lost race or an operator's hand left running is found by asking the backends what they hold, not by
what the database believes.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from workspaces.lifecycle.transitions import TeardownReason, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey, ProvisionerError
from workspaces.provisioners.registry import LAUNCHABLE_KINDS, get_provisioner
from workspaces.services.core.transition import UnknownWorkspace, lock_workspace

logger = logging.getLogger(__name__)

# Statuses in which no process of a workspace is to run. `failed` has its grace, which stands on the launch.
_STOPPED = frozenset({WorkspaceStatus.REMOVED, WorkspaceStatus.PAUSED, WorkspaceStatus.HIBERNATED})


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What the reaper found: launches now meant to stop, objects that no row knows, backends that can't be asked."""

    meant: list[UUID] = field(default_factory=list)
    unknown: list[tuple[str, LaunchKey]] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.meant or self.unknown or self.unasked)


def reap(*, now: datetime) -> Reaped:
    """Ask each backend what it holds; mean to stop what nothing needs, and name what no row knows: see `stop_unknown`.

    A backend that can't be asked is left alone: could not ask is not gone, and not superfluous either.
    """
    reaped = Reaped()
    for kind in LAUNCHABLE_KINDS:
        try:
            held = get_provisioner(kind).running_launches()
        except ProvisionerError as error:
            logger.warning("A backend can't be asked what it holds", extra={"backend": kind, "detail": str(error)})
            reaped.unasked.append(kind)
            continue
        _reap_held(kind, held, reaped, now=now)
    return reaped


def _reap_held(kind: str, held: Iterable[LaunchKey], reaped: Reaped, *, now: datetime) -> None:
    # Rows are read after the listing: a launch is committed before its object is made, so each object has its row.
    keys = list(held)
    known = set(Launch.objects.filter(pk__in=[key.launch_id for key in keys]).values_list("pk", flat=True))
    for key in keys:
        if key.launch_id not in known:
            reaped.unknown.append((kind, key))
        elif _mean_to_stop(key, now=now):
            reaped.meant.append(key.launch_id)


def stop_unknown(kind: str, key: LaunchKey) -> bool:
    """Stop an object unless a row knows it; tell whether it is gone. If not, the next listing names it again."""
    if Launch.objects.filter(pk=key.launch_id).exists():
        return False
    try:
        seen = get_provisioner(kind).stop(key, timeout_seconds=settings.AGENT_STOP_SECONDS)
    except ProvisionerError as error:
        logger.warning(
            "An unknown object could not be stopped", extra={"launch_id": key.launch_id, "detail": str(error)}
        )
        return False
    is_gone = seen.state in {BackendState.EXITED, BackendState.MISSING}
    logger.warning("An object that no row knows was stopped", extra={"launch_id": key.launch_id, "is_gone": is_gone})
    return is_gone


@transaction.atomic
def _mean_to_stop(key: LaunchKey, *, now: datetime) -> bool:
    """Store the intent where, under the workspace's lock, nothing needs the object; tell whether it is a new one."""
    try:
        workspace = lock_workspace(key.workspace_id)
    except UnknownWorkspace:
        return False
    launch = Launch.objects.filter(pk=key.launch_id).first()
    if launch is None or not _is_superfluous(workspace, launch):
        return False
    reason = launch.teardown_reason or TeardownReason.REAPED
    # Even one that was confirmed gone, or declared so: it is there.
    Launch.objects.filter(pk=launch.pk).update(teardown_at=now, teardown_reason=reason, torn_down_at=None)
    # What it wrote since goes with it, where its workspace was removed.
    Workspace.objects.filter(pk=workspace.pk).update(files_deleted_at=None)
    logger.warning("An object that nothing needs is to be stopped", extra={"launch_id": launch.pk})
    return True


def _is_superfluous(workspace: Workspace, launch: Launch) -> bool:
    """Tell whether the object is alive for nothing, and no intent to stop it stands that is being carried out."""
    if launch.torn_down_at is None and launch.teardown_at is not None:
        return False
    is_present = launch.pk == workspace.launch_id
    return not is_present or launch.torn_down_at is not None or workspace.status in _STOPPED | {WorkspaceStatus.FAILED}
