"""Stop the backend objects of launches whose teardown is due, and confirm that they are gone."""

import logging
from datetime import datetime, timedelta
from operator import methodcaller
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from workspaces.access.masking import masker_of
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import DEAD_STATES, BackendState, LaunchKey, Observation, ProvisionerError
from workspaces.provisioners.guarded_calls import DELETE_SECONDS, call, stop
from workspaces.services.core.guarded_rows import RowGuard, by_launch
from workspaces.services.core.transition import lock_workspace
from workspaces.services.stopping import hibernate, remove

logger = logging.getLogger(__name__)

# The delay before the next attempt, by the number of attempts so far; after more of them the maximum.
RETRY_DELAYS_SECONDS = (10, 20, 40, 80, 160, 320)
MAX_RETRY_DELAY_SECONDS = 600
# How many folders of earlier launches a workspace keeps, for their logs.
KEPT_FOLDERS = 3
# Each teardown deletes at most this many folders; the older ones were deleted by earlier teardowns.
_FOLDERS_AT_ONCE = 5


@transaction.atomic
def claim_due_teardowns(*, now: datetime, workspace_id: UUID | None = None, limit: int = 200) -> list[UUID]:
    """Return the ids of launches whose teardown is due, the longest due first, and mark them dispatched.

    A launch is returned again only after its retry delay; with `workspace_id` the launches of that workspace are
    returned regardless, because an operator waits for them. Launches that another transaction has locked are skipped:
    two that waited for each other's rows would deadlock.
    """
    due = Launch.objects.due_for_teardown(now=now).order_by("teardown_at", "pk")
    # Only what is returned gets locked, so that an operator can claim what waits for its retry delay.
    due = due.filter(_is_ready(now)) if workspace_id is None else due.filter(workspace_id=workspace_id)
    claimed = [launch.pk for launch in due.select_for_update(skip_locked=True, no_key=True)[:limit]]
    Launch.objects.filter(pk__in=claimed).update(dispatched_at=now)
    return claimed


def _is_ready(now: datetime) -> Q:
    """Return the condition of launches that were never dispatched for this teardown, or whose delay is over."""
    ready = Q(dispatched_at__isnull=True) | Q(dispatched_at__lt=F("teardown_at"))
    ready |= Q(dispatched_at__lte=now - timedelta(seconds=MAX_RETRY_DELAY_SECONDS))
    for attempts, delay in enumerate(RETRY_DELAYS_SECONDS):
        ready |= Q(teardown_attempts=attempts, dispatched_at__lte=now - timedelta(seconds=delay))
    return ready


def tear_down(*, launch_id: UUID, now: datetime, stop_seconds: float | None = None) -> bool:
    """Stop the launch's object if that is still scheduled. Return whether it is confirmed stopped.

    It gets `stop_seconds` (default AGENT_STOP_SECONDS) to end by itself before it is killed. May run twice or die
    midway: an unconfirmed stop stays due and is tried again.
    """
    launch = _claim(launch_id, now=now)
    if launch is None:
        return Launch.objects.filter(pk=launch_id, torn_down_at__isnull=False).exists()
    key = LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)
    try:
        observation = stop(launch.backend, key, timeout_seconds=stop_seconds or settings.AGENT_STOP_SECONDS)
    except ProvisionerError as error:
        observation = Observation(state=BackendState.UNKNOWN, detail=str(error))
    if observation.state not in DEAD_STATES:
        detail = observation.detail or f"It is {observation.state} after the stop."
        detail = masker_of(launch.workspace_id).mask_start(detail, most_characters=2000)
        Launch.objects.filter(pk=launch.pk).update(teardown_error=detail)
        logger.warning("A launch could not be confirmed gone", extra={"launch_id": launch.pk, "detail": detail})
        return False
    _record_stopped(launch_id, now=now)
    # It is stopped, whatever becomes of its files: `delete_files` and the next teardown try again.
    guard = RowGuard[UUID](what="The files of a stopped launch could not be deleted", ids=by_launch)
    with guard.handling(launch_id):
        remove.delete_files_of(launch.workspace_id, now=now)
        delete_old_folders(launch.workspace_id)
    return True


@transaction.atomic
def _claim(launch_id: UUID, *, now: datetime) -> Launch | None:
    """Return the launch, with the attempt counted, if its stop is still scheduled under the workspace's lock."""
    workspace = _lock_workspace_of(launch_id)
    due = Launch.objects.due_for_teardown(now=now).filter(pk=launch_id)
    launch = due.first()
    if workspace is None or launch is None or hibernate.undo_if_task_began(workspace, launch):
        return None
    # From here on the stop counts as sent.
    due.update(teardown_attempts=F("teardown_attempts") + 1)
    return launch


def confirm_stopped(*, launch_id: UUID, now: datetime) -> bool:
    """Record that an operator declares a launch gone. Return False if no stop was scheduled or it was gone already."""
    return _record_stopped(launch_id, now=now, note="Declared gone by an operator.")


@transaction.atomic
def _record_stopped(launch_id: UUID, *, now: datetime, note: str = "") -> bool:
    """Record that a launch whose stop was scheduled is gone, which completes a hibernation."""
    workspace = _lock_workspace_of(launch_id)
    scheduled = Launch.objects.not_torn_down().filter(pk=launch_id, teardown_at__isnull=False)
    if workspace is None or not scheduled.update(torn_down_at=now, teardown_error=note):
        return False
    hibernate.confirm_hibernation(workspace, launch_id)
    return True


def _lock_workspace_of(launch_id: UUID) -> Workspace | None:
    workspace_id = Launch.objects.values_list("workspace_id", flat=True).filter(pk=launch_id).first()
    return lock_workspace(workspace_id) if workspace_id else None


def delete_old_folders(workspace_id: UUID) -> None:
    """Delete the folders of a workspace's earlier launches, except for the last KEPT_FOLDERS."""
    torn_down = Launch.objects.filter(workspace_id=workspace_id, torn_down_at__isnull=False)
    for launch in torn_down.order_by("-queued_at", "pk")[KEPT_FOLDERS : KEPT_FOLDERS + _FOLDERS_AT_ONCE]:
        key = LaunchKey(workspace_id=workspace_id, launch_id=launch.pk)
        try:
            call(launch.backend, "forget", key, methodcaller("forget", key), seconds=DELETE_SECONDS)
        except ProvisionerError as error:
            logger.warning("A launch's folder stays", extra={"launch_id": launch.pk, "detail": str(error)})
