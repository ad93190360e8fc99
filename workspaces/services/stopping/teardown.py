"""Stop a launch's backend object and see it gone: carries out the intent that was stored with the move."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from workspaces.access.masking import mask
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey, Observation, ProvisionerError
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.core.transition import lock_workspace
from workspaces.services.stopping import hibernate, remove

logger = logging.getLogger(__name__)

# After so many attempts; after more of them the longest.
RETRY_DELAYS_SECONDS = (10, 20, 40, 80, 160, 320)
MAX_RETRY_DELAY_SECONDS = 600
KEPT_FOLDERS = 3
_GONE = frozenset({BackendState.EXITED, BackendState.MISSING})


@transaction.atomic
def claim_due_teardowns(*, now: datetime, workspace_id: UUID | None = None, limit: int = 200) -> list[UUID]:
    """Return launches whose backend object is to be stopped by now, the longest due first, and mark them dispatched.

    One that was handed out is not returned again until its pause is over, which doubles with each attempt. One
    workspace's alone are returned in any case: an operator waits for them. What somebody else just hands out, or
    stops, is left to them: two that waited for each other's rows would end in a deadlock.
    """
    due = Launch.objects.due_for_teardown(now=now).order_by("teardown_at", "pk")
    # Locked is only what is handed out: who waits for its pause is free for the operator who can't wait.
    due = due.filter(_is_to_be_handed_out(now)) if workspace_id is None else due.filter(workspace_id=workspace_id)
    claimed = [launch.pk for launch in due.select_for_update(skip_locked=True, no_key=True)[:limit]]
    Launch.objects.filter(pk__in=claimed).update(dispatched_at=now)
    return claimed


def _is_to_be_handed_out(now: datetime) -> Q:
    waited_longest = Q(dispatched_at__lte=now - timedelta(seconds=MAX_RETRY_DELAY_SECONDS))
    ready = Q(dispatched_at__isnull=True) | Q(dispatched_at__lt=F("teardown_at")) | waited_longest
    for attempts, pause in enumerate(RETRY_DELAYS_SECONDS):
        ready |= Q(teardown_attempts=attempts, dispatched_at__lte=now - timedelta(seconds=pause))
    return ready


def tear_down(*, launch_id: UUID, now: datetime, stop_seconds: float | None = None) -> bool:
    """Stop the launch's object if that is still meant. Return whether it is confirmed gone.

    It has `stop_seconds` (AGENT_STOP_SECONDS where not given) to end by itself before it is ended by force.
    May run twice, or die midway: what is not confirmed stays due and is tried again.
    """
    launch = _claim(launch_id, now=now)
    if launch is None:
        return Launch.objects.filter(pk=launch_id, torn_down_at__isnull=False).exists()
    observation = _stop(launch, seconds=stop_seconds or settings.AGENT_STOP_SECONDS)
    if observation.state not in _GONE:
        _keep_due(launch, observation)
        return False
    _mark_gone(launch_id, now=now)
    remove.delete_files_of(launch.workspace_id, now=now)
    _forget_earlier(launch)
    return True


def _forget_earlier(launch: Launch) -> None:
    """Delete the folders of earlier launches but the last few: their logs have been read."""
    gone = Launch.objects.filter(workspace_id=launch.workspace_id, torn_down_at__isnull=False)
    # A few at a time: those before them were forgotten when their successors went.
    for earlier in gone.order_by("-queued_at", "pk")[KEPT_FOLDERS : KEPT_FOLDERS + 5]:
        try:
            get_provisioner(earlier.backend).forget(LaunchKey(workspace_id=earlier.workspace_id, launch_id=earlier.pk))
        except (ProvisionerError, KeyError) as error:
            logger.warning("A launch's folder stays", extra={"launch_id": earlier.pk, "detail": str(error)})


def confirm_stopped(*, launch_id: UUID, now: datetime) -> bool:
    """Take an operator's word that a launch's object is gone, where its backend can't be asked. Tells if it was due."""
    return _mark_gone(launch_id, now=now, note="Declared gone by an operator.")


@transaction.atomic
def _claim(launch_id: UUID, *, now: datetime) -> Launch | None:
    """Ask under the workspace's lock whether the stop is still meant; count the attempt."""
    workspace = _lock_workspace_of(launch_id)
    due = Launch.objects.due_for_teardown(now=now).filter(pk=launch_id)
    launch = due.first()
    if workspace is None or launch is None or hibernate.undo_if_task_began(workspace, launch):
        return None
    # From here on the stop counts as sent.
    due.update(teardown_attempts=F("teardown_attempts") + 1)
    return launch


@transaction.atomic
def _mark_gone(launch_id: UUID, *, now: datetime, note: str = "") -> bool:
    """Record that a launch which is meant to stop is gone, and what that completes; tell whether it was meant."""
    workspace = _lock_workspace_of(launch_id)
    meant = Launch.objects.not_torn_down().filter(pk=launch_id, teardown_at__isnull=False)
    if workspace is None or not meant.update(torn_down_at=now, teardown_error=note):
        return False
    hibernate.confirm_hibernation(workspace, launch_id)
    return True


def _lock_workspace_of(launch_id: UUID) -> Workspace | None:
    workspace_id = Launch.objects.values_list("workspace_id", flat=True).filter(pk=launch_id).first()
    return lock_workspace(workspace_id) if workspace_id else None


def _stop(launch: Launch, *, seconds: float) -> Observation:
    key = LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)
    try:
        return get_provisioner(launch.backend).stop(key, timeout_seconds=seconds)
    except ProvisionerError as error:
        return Observation(state=BackendState.UNKNOWN, detail=str(error))


def _keep_due(launch: Launch, observation: Observation) -> None:
    detail = mask(observation.detail, workspace_id=launch.workspace_id) or f"It is {observation.state} after the stop."
    Launch.objects.filter(pk=launch.pk).update(teardown_error=detail[:2000])
    logger.warning("A launch could not be confirmed gone", extra={"launch_id": launch.pk, "detail": detail})
