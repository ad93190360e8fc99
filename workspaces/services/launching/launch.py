"""Launch a workspace: preflight, stop its earlier launches, start it on its backend.

No transaction is open while a backend is called.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from workspaces.access import secrets
from workspaces.access.tokens import mint_agent_token
from workspaces.configuration.effective import store
from workspaces.configuration.preflight import PreflightFailed, Prepared, preflight
from workspaces.deadlines.policy import current_policy, launching_limit, start_retry_seconds
from workspaces.lifecycle.transitions import RUNNING, FailureCode, FailureOwner, FailureSource, Phase, WorkspaceStatus
from workspaces.models import Launch, LaunchOutcome, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, Observation, ProvisionerError
from workspaces.provisioners.guarded_calls import describe, reference_of
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.core import launch_records, locked_rows
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace, lock_workspace
from workspaces.services.launching import queue_limits
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.stopping.teardown import tear_down

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]


def launch(*, workspace_id: UUID, launch_id: UUID, clock: Clock) -> None:
    """Launch a queued workspace; afterwards it is booting or failed. Do nothing if this launch isn't waiting.

    May run twice, and may die at any line: the row's deadline and the watcher finish what it leaves. Any exception
    fails the launch at once. Raises only OperationalError and InterfaceError: while the database is away a launch can't
    fail, and Celery beat repeats it.
    """
    try:
        try:
            reason = _launch(workspace_id, launch_id, clock)
        except (TransitionRefused, UnknownWorkspace, OperationalError, InterfaceError):
            raise
        except Exception as error:
            reference = reference_of(error, launch_id)
            logger.exception("A launch failed unexpectedly", extra={"launch_id": launch_id, "reference": reference})
            reason = unexpected_failure(error, reference=reference)
        if reason:
            fail(workspace_id=workspace_id, launch_id=launch_id, reason=reason, now=clock())
    except (TransitionRefused, UnknownWorkspace) as refused:
        logger.info("A launch ended before its task", extra={"launch_id": launch_id, "why": str(refused)})


def _launch(workspace_id: UUID, launch_id: UUID, clock: Clock) -> FailureReason | None:
    """Start the launch if it is waiting. Return why it failed, or None."""
    found = locked_rows.read([workspace_id])
    if not found or not _is_waiting(found[0], launch_id, clock=clock):
        return None
    workspace = found[0]
    if workspace.phase == Phase.QUEUED and not queue_limits.wait_for_turn(workspace, clock=clock):
        _keep_waiting(launch_id)
        return None
    try:
        prepared = preflight(workspace)
        spec = begin(workspace_id, launch_id, prepared, now=clock())
        if spec is None:
            return None
        _stop_earlier_launches(workspace, clock)
        observation = get_provisioner(workspace.backend).start(spec)
    except PreflightFailed as error:
        warnings = [each.as_json() for each in error.report.warnings]
        # Together: pruning deletes a configuration that nothing has.
        with transaction.atomic():
            kept = {"configuration": store(error.source)} if error.source else {}
            Launch.objects.filter(pk=launch_id).update(warnings=warnings, **kept)
        return FailureReason(code=error.code, source=FailureSource.PREFLIGHT, message=str(error), missing=error.missing)
    except ProvisionerError as error:
        return FailureReason(code=FailureCode.LAUNCH_ERROR, source=FailureSource.LAUNCHER, message=str(error))
    enter_booting(workspace_id=workspace_id, launch_id=launch_id, observation=observation, now=clock())
    return None


def unexpected_failure(error: Exception, *, reference: str) -> FailureReason:
    """Return the failure of an error that no code expects. `reference` is that of the line of the log."""
    return FailureReason(
        code=FailureCode.LAUNCH_ERROR,
        source=FailureSource.LAUNCHER,
        owner=FailureOwner.PLATFORM,
        message=f"The launch ended with an unexpected error ({describe(error, reference)} of the launch worker). "
        "Correct the cause, then restart.",
    )


def _is_waiting(workspace: Workspace, launch_id: UUID, *, clock: Clock) -> bool:
    """Return whether this launch should begin: it is queued, or it began so long ago that its worker must be dead."""
    if workspace.launch_id != launch_id or workspace.status != WorkspaceStatus.PROVISIONING:
        return False
    if workspace.phase == Phase.LAUNCHING and workspace.progress_at is not None:
        return workspace.progress_at <= clock() - timedelta(seconds=start_retry_seconds(policy=current_policy()))
    return workspace.phase == Phase.QUEUED


@transaction.atomic
def begin(workspace_id: UUID, launch_id: UUID, prepared: Prepared, *, now: datetime) -> LaunchSpec | None:
    """Enter the launching phase with its deadline, and mint the agent's token, before the backend is called.

    Return what the backend needs, or None if another worker was first, or it can't begin yet: the queue's limits don't
    allow it, or its secrets have changed since its preflight.
    """
    workspace = lock_workspace(workspace_id)
    if not _is_waiting(workspace, launch_id, clock=lambda: now):
        return None
    if workspace.phase == Phase.QUEUED and not queue_limits.may_start(workspace, now=now):
        _keep_waiting(launch_id)
        return None
    changes: dict[str, Any] = {
        "progress_at": now,
        "runtime": prepared.runtime,
        "template_timeout_seconds": prepared.provision_timeout_seconds,
        "template_timeout_override": prepared.provision_timeout_override,
        "stall_timeout_seconds": prepared.stall_timeout_seconds,
    }
    if workspace.secrets_changed:
        # They may have changed between the preflight and the lock.
        changes["secrets_changed"] = not secrets.is_environment_of(workspace_id, prepared.environment)
        if changes["secrets_changed"] and workspace.phase == Phase.QUEUED:
            # Nobody was told, since the launch was going to read them: it does so when it is dispatched again.
            _keep_waiting(launch_id)
            return None
    if workspace.phase == Phase.QUEUED:
        changes |= launch_records.phase_fields(workspace, Phase.LAUNCHING, now=now)
    Workspace.objects.filter(pk=workspace_id).update(**changes)
    Launch.objects.filter(pk=launch_id, launching_at__isnull=True).update(
        launching_at=now,
        configuration=store(prepared.source),
        warnings=[each.as_json() for each in prepared.warnings],
    )
    return launch_spec(workspace, prepared, token=mint_agent_token(workspace))


def _keep_waiting(launch_id: UUID) -> None:
    """Leave a launch queued. Celery beat, and each launch that makes room, dispatches it when its turn comes."""
    Launch.objects.filter(pk=launch_id).update(dispatched_at=None)


def launch_spec(workspace: Workspace, prepared: Prepared, *, token: str) -> LaunchSpec:
    """Return what a backend needs to start the workspace: its secrets and the variables of the wire contract."""
    environment = {
        **prepared.environment,
        "WORKSPACE_ID": str(workspace.pk),
        "LAUNCH_ID": str(workspace.launch_id),
        "WORKSPACE_TOKEN": token,
        "PLATFORM_URL": settings.REGISTRY_URL,
        "MOLECULE_URL": settings.REGISTRY_URL,
        "TIER": str(workspace.tier),
        "HEARTBEAT_INTERVAL_SECONDS": str(settings.HEARTBEAT_INTERVAL_SECONDS),
    }
    if workspace.model:
        environment["WORKSPACE_MODEL"] = workspace.model
    return LaunchSpec(
        key=LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id),
        environment=environment,
        config=prepared.config,
        files=prepared.source.files,
        token=token,
        start_timeout_seconds=launching_limit(policy=current_policy()).inner_seconds,
        model=workspace.model or None,
    )


def _stop_earlier_launches(workspace: Workspace, clock: Clock) -> None:
    """Stop the backend objects of earlier launches. Raises ProvisionerError if one can't be confirmed stopped."""
    if workspace.version == 1:
        # Each later launch begins with a transition, which raises the version.
        return
    for earlier in Launch.objects.not_torn_down().filter(workspace=workspace).exclude(pk=workspace.launch_id):
        if not tear_down(launch_id=earlier.pk, now=clock()):
            raise ProvisionerError(
                f"The previous launch ({earlier.pk}) could not be confirmed gone, so a second process was not started. "
                "Check its host. When you know that it is gone, declare it gone in the admin and restart."
            )


@transaction.atomic
def enter_booting(*, workspace_id: UUID, launch_id: UUID, observation: Observation, now: datetime) -> None:
    """Record that the backend has started this launch's object. The workspace's lock decides what that means now:

    - the launch is awaited: the workspace is booting, or already online if its agent was quicker;
    - its deadline failed it, but its grace lasts: its agent may still register, so store its URL;
    - a later launch, a pause or a removal came first: schedule the teardown, so that the object doesn't outlive it.
    """
    workspace = lock_workspace(workspace_id)
    launch_row = Launch.objects.filter(pk=launch_id)
    is_current = workspace.launch_id == launch_id
    in_grace = launch_row.not_torn_down().filter(outcome=LaunchOutcome.FAILED, teardown_at__gt=now)
    changes: dict[str, Any] = {}
    if is_current and workspace.status in (WorkspaceStatus.PROVISIONING, *RUNNING):
        launch_row.filter(booting_at__isnull=True).update(booting_at=now)
        if observation.detail:
            # The watcher stores what it sees only when that changes, so this stays on the page while the object runs.
            seen = {"state": observation.state, "exit_code": observation.exit_code, "detail": observation.detail}
            launch_row.filter(evidence={}).update(evidence={**seen, "at": now.isoformat()})
        if observation.url:
            changes["url"] = observation.url
        if workspace.status == WorkspaceStatus.PROVISIONING and workspace.phase == Phase.LAUNCHING:
            changes |= launch_records.phase_fields(workspace, Phase.BOOTING, now=now) | {"progress_at": now}
    elif is_current and workspace.status == WorkspaceStatus.FAILED and in_grace.exists():
        launch_row.update(booting_at=now)
        changes["url"] = observation.url
    else:
        # The start may have written files again after those of a removed workspace were deleted.
        changes["files_deleted_at"] = None
        if observation.state != BackendState.EXITED:
            # An earlier confirmation that the object is gone doesn't count: it came before this start.
            launch_row.update(teardown_at=now, torn_down_at=None)
    if changes:
        Workspace.objects.filter(pk=workspace_id).update(**changes)
