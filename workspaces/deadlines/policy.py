"""The deadline policy: one resolver for sweep, watcher, provisioners, agent, API and UI. Pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings

from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import Workspace

# Counted from when its backend's queue last moved: awaiting one's turn fails nobody (services/sweeping.py).
QUEUED_SECONDS = 10 * 60
LAUNCHING_SECONDS = 2 * 60
# Several attempts at the stop, their pauses doubling, fit in.
HIBERNATING_SECONDS = 5 * 60
# A stop that is not confirmed this long after it was meant calls for an operator's look; it is tried on.
STOPPING_SECONDS = 2 * 60
# Of the launching limit, a backend's own start may take a quarter; after three eighths it may be begun once more.
_START_SHARE = 1 / 4
_RETRY_SHARE = 3 / 8
# Of a limit that somebody chose, the watcher leaves this much to the sweep.
_SLACK_SHARE = 1 / 5


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
    """How long a phase may last, and who says so. `inner_seconds` is for who acts before the sweep: always shorter."""

    seconds: int
    source: LimitSource
    inner_seconds: float


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What an operator decides for all: the override in seconds, or None."""

    override_seconds: int | None = None

    @property
    def override(self) -> timedelta | None:
        return None if self.override_seconds is None else timedelta(seconds=self.override_seconds)


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """The deadline in force: when, by which limit, and whether that is the stall limit rather than the hard one."""

    at: datetime
    limit: Limit
    is_stall: bool = False


def current_policy() -> Policy:
    """Return the policy that the settings hold."""
    return Policy(override_seconds=settings.PROVISION_TIMEOUT_SECONDS)


def boot_limit(*, runtime: str, workspace_seconds: int | None, template_seconds: int | None, policy: Policy) -> Limit:
    """Return the sweep limit for booting: override > workspace > template > runtime > default."""
    if policy.override_seconds is not None:
        return _chosen(policy.override_seconds, LimitSource.OVERRIDE)
    if workspace_seconds:
        return _chosen(workspace_seconds, LimitSource.WORKSPACE)
    if template_seconds:
        return _chosen(template_seconds, LimitSource.TEMPLATE)
    if runtime in BOOT_LIMITS:
        return _of_table(BOOT_LIMITS[runtime], LimitSource.RUNTIME)
    return _of_table(DEFAULT_BOOT_LIMIT, LimitSource.DEFAULT)


def _chosen(seconds: int, source: LimitSource) -> Limit:
    return Limit(seconds=seconds, source=source, inner_seconds=seconds * (1 - _SLACK_SHARE))


def _of_table(row: BootLimit, source: LimitSource) -> Limit:
    return Limit(seconds=row.sweep_seconds, source=source, inner_seconds=row.watcher_seconds)


def phase_limit(workspace: Workspace, *, phase: str, policy: Policy) -> Limit:
    """Return the limit of one phase of this workspace's provisioning."""
    if phase == Phase.LAUNCHING:
        return launching_limit(policy=policy)
    if phase == Phase.QUEUED:
        return queued_limit(policy=policy)
    return boot_limit(
        runtime=workspace.runtime,
        workspace_seconds=workspace.own_limit_seconds,
        template_seconds=workspace.template_timeout_seconds,
        policy=policy,
    )


def queued_limit(*, policy: Policy) -> Limit:
    """Return how long a queue may stand still."""
    return _of_all(QUEUED_SECONDS, policy=policy, share=1 - _SLACK_SHARE)


def launching_limit(*, policy: Policy) -> Limit:
    """Return how long a launch may be launching; a backend's own start timeout is its inner limit."""
    return _of_all(LAUNCHING_SECONDS, policy=policy, share=_START_SHARE)


def start_retry_seconds(*, policy: Policy) -> float:
    """Return after how long a start that shows no object was lost with its worker, and may be begun again."""
    return launching_limit(policy=policy).seconds * _RETRY_SHARE


def _of_all(seconds: int, *, policy: Policy, share: float) -> Limit:
    """Return a phase's limit that no workspace, template or runtime changes."""
    if policy.override_seconds is not None:
        seconds, source = policy.override_seconds, LimitSource.OVERRIDE
    else:
        source = LimitSource.DEFAULT
    return Limit(seconds=seconds, source=source, inner_seconds=seconds * share)


def stored_deadline(workspace: Workspace, *, phase: str, entered_at: datetime, progress_at: datetime) -> datetime:
    """Return what `deadline_at` holds for a phase: the hard limit, or the stall limit where that is nearer.

    The override is no part of it: it may be lifted while a launch is in flight.
    """
    hard = entered_at + timedelta(seconds=phase_limit(workspace, phase=phase, policy=Policy()).seconds)
    if phase != Phase.BOOTING or not workspace.stall_timeout_seconds:
        return hard
    return min(hard, progress_at + timedelta(seconds=workspace.stall_timeout_seconds))


def deadline_in_force(workspace: Workspace, *, policy: Policy) -> Deadline | None:
    """Return the deadline in force; None for a workspace that waits for nothing."""
    if workspace.deadline_at is None:
        return None
    entered_at = workspace.phase_entered_at
    if workspace.status != WorkspaceStatus.PROVISIONING or entered_at is None:
        return Deadline(at=workspace.deadline_at, limit=_HIBERNATING)
    limit = phase_limit(workspace, phase=workspace.phase, policy=policy)
    if policy.override is not None:
        return Deadline(at=entered_at + policy.override, limit=limit)
    can_stall = workspace.phase == Phase.BOOTING and bool(workspace.stall_timeout_seconds)
    is_stall = can_stall and workspace.deadline_at < entered_at + timedelta(seconds=limit.seconds)
    return Deadline(at=workspace.deadline_at, limit=limit, is_stall=is_stall)


_HIBERNATING = Limit(
    seconds=HIBERNATING_SECONDS,
    source=LimitSource.DEFAULT,
    inner_seconds=HIBERNATING_SECONDS * (1 - _SLACK_SHARE),
)


def effective_deadline(workspace: Workspace, *, policy: Policy) -> datetime | None:
    """Return when the deadline in force passes; None for a workspace that waits for nothing."""
    deadline = deadline_in_force(workspace, policy=policy)
    return deadline.at if deadline else None


def stop_deadline(meant_at: datetime) -> datetime:
    """Return by when a backend object that was meant to stop at this time should have been seen gone."""
    return meant_at + timedelta(seconds=STOPPING_SECONDS)


def watcher_deadline(workspace: Workspace, *, policy: Policy) -> datetime | None:
    """Return when the watcher takes its last look at a boot: before the hard limit, whatever that comes from."""
    if workspace.phase != Phase.BOOTING or workspace.phase_entered_at is None:
        return None
    limit = phase_limit(workspace, phase=workspace.phase, policy=policy)
    return workspace.phase_entered_at + timedelta(seconds=limit.inner_seconds)


def format_duration(seconds: int) -> str:
    """Return a limit as messages say it: `90 seconds`, `1 minute`, `30 minutes`."""
    if seconds % 60 or seconds < 60:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes" if seconds > 60 else "1 minute"
