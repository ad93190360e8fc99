"""The deadline policy: one resolver for sweep, watcher, provisioners, API and UI. Pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings

from workspaces.lifecycle import Phase, WorkspaceStatus
from workspaces.models import Workspace

QUEUED_SECONDS = 10 * 60
LAUNCHING_SECONDS = 2 * 60
# Several attempts at the stop, their pauses doubling, fit in.
HIBERNATING_SECONDS = 5 * 60
# A stop that is not confirmed this long after it was meant calls for an operator's look; it is tried on.
STOPPING_SECONDS = 2 * 60


@dataclass(frozen=True, kw_only=True)
class BootLimit:
    """A runtime's limits for booting. The watcher's is the inner one, so its last look comes before the sweep."""

    watcher_seconds: int
    slack_seconds: int

    @property
    def sweep_seconds(self) -> int:
        return self.watcher_seconds + self.slack_seconds


DEFAULT_BOOT_LIMIT = BootLimit(watcher_seconds=8 * 60, slack_seconds=2 * 60)
# hermes installs itself at its first boot, which has taken over ten minutes on healthy machines.
BOOT_LIMITS = {"hermes": BootLimit(watcher_seconds=25 * 60, slack_seconds=5 * 60)}


class LimitSource(StrEnum):
    """Where a limit comes from, the strongest first."""

    OVERRIDE = "PROVISION_TIMEOUT_SECONDS"
    WORKSPACE = "workspace"
    TEMPLATE = "template"
    RUNTIME = "runtime"
    DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How long a phase may last, and who says so."""

    seconds: int
    source: LimitSource


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What an operator decides for all: the override in seconds, or None."""

    override_seconds: int | None = None

    @property
    def override(self) -> timedelta | None:
        return None if self.override_seconds is None else timedelta(seconds=self.override_seconds)


def present_policy() -> Policy:
    """Return the policy that the settings hold."""
    return Policy(override_seconds=settings.PROVISION_TIMEOUT_SECONDS)


def boot_limit(*, runtime: str, workspace_seconds: int | None, template_seconds: int | None, policy: Policy) -> Limit:
    """Return the sweep limit for booting: override > workspace > template > runtime > default."""
    candidates = (
        (policy.override_seconds, LimitSource.OVERRIDE),
        (workspace_seconds, LimitSource.WORKSPACE),
        (template_seconds, LimitSource.TEMPLATE),
        (BOOT_LIMITS[runtime].sweep_seconds if runtime in BOOT_LIMITS else None, LimitSource.RUNTIME),
    )
    for seconds, source in candidates:
        if seconds:
            return Limit(seconds=seconds, source=source)
    return Limit(seconds=DEFAULT_BOOT_LIMIT.sweep_seconds, source=LimitSource.DEFAULT)


def limit_of(workspace: Workspace, *, phase: str, policy: Policy) -> Limit:
    """Return the limit of one phase of this workspace's provisioning."""
    if policy.override_seconds is not None:
        return Limit(seconds=policy.override_seconds, source=LimitSource.OVERRIDE)
    if phase == Phase.QUEUED:
        return Limit(seconds=QUEUED_SECONDS, source=LimitSource.DEFAULT)
    if phase == Phase.LAUNCHING:
        return Limit(seconds=LAUNCHING_SECONDS, source=LimitSource.DEFAULT)
    return boot_limit(
        runtime=workspace.runtime,
        workspace_seconds=workspace.provision_timeout_seconds,
        template_seconds=workspace.template_timeout_seconds,
        policy=policy,
    )


def stored_deadline(workspace: Workspace, *, phase: str, entered_at: datetime, progress_at: datetime) -> datetime:
    """Return what `deadline_at` holds for a phase: the hard limit, or the stall limit where that is nearer.

    The override is no part of it: it may be lifted while a launch is in flight.
    """
    hard = entered_at + timedelta(seconds=limit_of(workspace, phase=phase, policy=Policy()).seconds)
    if phase != Phase.BOOTING or not workspace.stall_timeout_seconds:
        return hard
    return min(hard, progress_at + timedelta(seconds=workspace.stall_timeout_seconds))


def effective_deadline(workspace: Workspace, *, policy: Policy) -> datetime | None:
    """Return the deadline in force; None for a workspace that waits for nothing."""
    if workspace.deadline_at is None:
        return None
    is_provisioning = workspace.status == WorkspaceStatus.PROVISIONING
    if policy.override is None or workspace.phase_entered_at is None or not is_provisioning:
        return workspace.deadline_at
    return workspace.phase_entered_at + policy.override


def stop_deadline(meant_at: datetime) -> datetime:
    """Return by when a backend object that was meant to stop at this time should have been seen gone."""
    return meant_at + timedelta(seconds=STOPPING_SECONDS)


def stalled(workspace: Workspace, *, policy: Policy) -> bool:
    """Tell whether the deadline in force is the stall limit's rather than the hard one."""
    deadline = effective_deadline(workspace, policy=policy)
    if deadline is None or workspace.phase_entered_at is None or workspace.phase != Phase.BOOTING:
        return False
    limit = limit_of(workspace, phase=workspace.phase, policy=policy)
    return deadline < workspace.phase_entered_at + timedelta(seconds=limit.seconds)
