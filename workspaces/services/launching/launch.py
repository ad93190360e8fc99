"""Launch a workspace: preflight, the predecessor gone, the backend's start.

Nothing is asked of a backend inside a transaction.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from workspaces.access.tokens import mint_agent_token
from workspaces.configuration.preflight import PreflightFailed, Prepared, preflight
from workspaces.deadlines.policy import current_policy, launching_limit, start_retry_seconds
from workspaces.lifecycle.transitions import FailureCode, FailureSource, Phase, WorkspaceStatus
from workspaces.models import Launch, LaunchOutcome, LaunchQuerySet, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, Observation, ProvisionerError
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.core import launch_records, locked_rows
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace, lock_workspace
from workspaces.services.launching import queue_limits
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.stopping.teardown import tear_down

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]


def launch(*, workspace_id: UUID, launch_id: UUID, clock: Clock) -> None:
    """Launch, and leave the workspace booting or failed. Does nothing where this launch is not the one that waits.

    May be called twice, and may die at any line: the row's deadline and the watcher settle what it leaves.
    """
    try:
        _launch(workspace_id, launch_id, clock)
    except (TransitionRefused, UnknownWorkspace) as moved_on:
        logger.info("A launch ended before its task", extra={"launch_id": launch_id, "why": str(moved_on)})


def _launch(workspace_id: UUID, launch_id: UUID, clock: Clock) -> None:
    found = locked_rows.read([workspace_id])
    if not found or not _is_waiting(found[0], launch_id, clock=clock):
        return
    workspace = found[0]
    try:
        prepared = preflight(workspace)
    except PreflightFailed as error:
        _fail(workspace, error.code, FailureSource.PREFLIGHT, str(error), clock, missing=error.missing)
        return
    spec = _begin(workspace_id, launch_id, prepared, now=clock())
    if spec is None:
        return
    try:
        _clear_predecessors(workspace, clock)
        observation = get_provisioner(workspace.backend).start(spec)
    except ProvisionerError as error:
        _fail(workspace, FailureCode.LAUNCH_ERROR, FailureSource.LAUNCHER, str(error), clock)
        return
    enter_booting(workspace_id=workspace_id, launch_id=launch_id, observation=observation, now=clock())


def _is_waiting(workspace: Workspace, launch_id: UUID, *, clock: Clock) -> bool:
    """Tell whether this launch is to be begun: queued, or begun so long ago that its worker is taken for dead."""
    if workspace.launch_id != launch_id or workspace.status != WorkspaceStatus.PROVISIONING:
        return False
    if workspace.phase == Phase.LAUNCHING and workspace.progress_at is not None:
        return workspace.progress_at <= clock() - timedelta(seconds=start_retry_seconds(policy=current_policy()))
    return workspace.phase == Phase.QUEUED


@transaction.atomic
def _begin(workspace_id: UUID, launch_id: UUID, prepared: Prepared, *, now: datetime) -> LaunchSpec | None:
    """Store the phase, its deadline and a token before anything is attempted; None where another worker was first."""
    workspace = lock_workspace(workspace_id)
    if not _is_waiting(workspace, launch_id, clock=lambda: now):
        return None
    if workspace.phase == Phase.QUEUED and not queue_limits.may_start(workspace, now=now):
        # It stays queued; beat, and each launch that makes room, sends it again.
        Launch.objects.filter(pk=launch_id).update(dispatched_at=None)
        return None
    changes: dict[str, Any] = {
        "progress_at": now,
        "runtime": prepared.runtime,
        "template_timeout_seconds": prepared.provision_timeout_seconds,
        "stall_timeout_seconds": prepared.stall_timeout_seconds,
    }
    if workspace.phase == Phase.QUEUED:
        changes |= launch_records.phase_fields(workspace, Phase.LAUNCHING, now=now)
    Workspace.objects.filter(pk=workspace_id).update(**changes)
    Launch.objects.filter(pk=launch_id, launching_at__isnull=True).update(launching_at=now)
    return _spec(workspace, prepared, token=mint_agent_token(workspace))


def _spec(workspace: Workspace, prepared: Prepared, *, token: str) -> LaunchSpec:
    environment = {
        **prepared.environment,
        "WORKSPACE_ID": str(workspace.pk),
        "LAUNCH_ID": str(workspace.launch_id),
        "WORKSPACE_TOKEN": token,
        "PLATFORM_URL": settings.PLATFORM_URL,
        "MOLECULE_URL": settings.PLATFORM_URL,
        "TIER": str(workspace.tier),
        "HEARTBEAT_INTERVAL_SECONDS": str(settings.HEARTBEAT_INTERVAL_SECONDS),
    }
    if workspace.model:
        environment["WORKSPACE_MODEL"] = workspace.model
    return LaunchSpec(
        key=LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id),
        environment=environment,
        config=prepared.config,
        token=token,
        start_timeout_seconds=launching_limit(policy=current_policy()).inner_seconds,
        model=workspace.model or None,
    )


def _clear_predecessors(workspace: Workspace, clock: Clock) -> None:
    """Stop what earlier launches left and see it gone. Raises ProvisionerError where that can't be confirmed."""
    if workspace.version == 1:
        # Every launch but the first begins with a move, which the database's own guard counts.
        return
    for earlier in Launch.objects.not_torn_down().filter(workspace=workspace).exclude(pk=workspace.launch_id):
        if not tear_down(launch_id=earlier.pk, now=clock()):
            raise ProvisionerError(
                f"The previous launch ({earlier.pk}) could not be confirmed gone, so a second process was not started. "
                "Look at that host; once you know that it is gone, declare it gone in the admin and restart."
            )


def _fail(
    workspace: Workspace,
    code: FailureCode,
    source: FailureSource,
    message: str,
    clock: Clock,
    missing: list[str] | None = None,
) -> None:
    reason = FailureReason(code=code, source=source, message=message, missing=missing or [])
    fail(workspace_id=workspace.pk, launch_id=workspace.launch_id, reason=reason, now=clock())


@transaction.atomic
def enter_booting(*, workspace_id: UUID, launch_id: UUID, observation: Observation, now: datetime) -> None:
    """Record that the backend runs this launch's object. An agent that was quicker stays online.

    A launch that was superseded meanwhile is meant to be stopped instead: its object must not outlive it.
    """
    workspace = lock_workspace(workspace_id)
    launch_row = Launch.objects.filter(pk=launch_id)
    is_failed = workspace.launch_id == launch_id and workspace.status == WorkspaceStatus.FAILED
    if is_failed and _is_within_grace(launch_row, now=now):
        # Time alone failed it, and its backend was slow: its agent may still arrive, and be reached.
        launch_row.update(booting_at=now)
        Workspace.objects.filter(pk=workspace_id).update(url=observation.url)
        return
    if workspace.launch_id != launch_id or workspace.status not in _EXPECTED:
        # What this start wrote goes too, though the files of a removed one were seen gone before it.
        Workspace.objects.filter(pk=workspace_id).update(files_deleted_at=None)
        if observation.state != BackendState.EXITED:
            # Even one that was confirmed gone: this start came after that look.
            launch_row.update(teardown_at=now, torn_down_at=None)
        return
    launch_row.filter(booting_at__isnull=True).update(booting_at=now)
    changes: dict[str, Any] = {"url": observation.url} if observation.url else {}
    if workspace.status == WorkspaceStatus.PROVISIONING and workspace.phase == Phase.LAUNCHING:
        changes |= launch_records.phase_fields(workspace, Phase.BOOTING, now=now) | {"progress_at": now}
    if changes:
        Workspace.objects.filter(pk=workspace_id).update(**changes)


def _is_within_grace(launch_row: LaunchQuerySet, *, now: datetime) -> bool:
    return launch_row.not_torn_down().filter(outcome=LaunchOutcome.FAILED, teardown_at__gt=now).exists()


_EXPECTED = frozenset({WorkspaceStatus.PROVISIONING, WorkspaceStatus.ONLINE, WorkspaceStatus.DEGRADED})
