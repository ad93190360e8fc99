"""The deadline policy, used by sweep, watcher, provisioners, agent, API and admin. Pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings

from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import Workspace

# Counted from when its backend's queue last moved (services/launching/stalled_queue.py).
QUEUED_SECONDS = 10 * 60
LAUNCHING_SECONDS = 2 * 60
# Long enough for several attempts at the stop, with a pause that doubles.
HIBERNATING_SECONDS = 5 * 60
# A stop that is not confirmed after this long is shown as overdue. It is still tried again.
STOPPING_SECONDS = 2 * 60
# The share of the launching limit that a backend's own start may take, and after which a lost start is tried again.
_START_SHARE = 1 / 4
_RETRY_SHARE = 3 / 8
# The share of a limit that somebody set which lies between the watcher's last look and the sweep.
_SLACK_SHARE = 1 / 5


@dataclass(frozen=True, kw_only=True)
class BootLimit:
    """The boot limits of a runtime. The watcher's is shorter, so that its last look comes before the sweep."""

    watcher_seconds: int
    slack_seconds: int

    @property
    def sweep_seconds(self) -> int:
        return self.watcher_seconds + self.slack_seconds


DEFAULT_BOOT_LIMIT = BootLimit(watcher_seconds=8 * 60, slack_seconds=2 * 60)
# hermes installs itself when it first boots, which has taken 13 minutes on healthy machines.
BOOT_LIMITS = {"hermes": BootLimit(watcher_seconds=25 * 60, slack_seconds=5 * 60)}


class LimitSource(StrEnum):
    """Where a limit comes from, in order of precedence."""

    OVERRIDE = "PROVISION_TIMEOUT_SECONDS"
    WORKSPACE = "workspace"
    TEMPLATE = "template"
    RUNTIME = "runtime"
    DEFAULT = "default"
    # Of the queue only, beside its limit from above.
    LONGEST_WAIT = "QUEUE_LONGEST_SECONDS"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How long a phase may last, and where that comes from.

    `inner_seconds` is the limit for what acts before the sweep; it is always shorter than `seconds`.
    """

    seconds: int
    source: LimitSource
    inner_seconds: float


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the operator sets for the whole fleet: PROVISION_TIMEOUT_SECONDS, or None."""

    override_seconds: int | None = None

    @property
    def override(self) -> timedelta | None:
        return None if self.override_seconds is None else timedelta(seconds=self.override_seconds)


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """When a deadline passes, by which limit, and whether that is the stall limit instead of the phase's own."""

    at: datetime
    limit: Limit
    is_stall: bool = False


def current_policy() -> Policy:
    """Return the policy in the settings."""
    return Policy(override_seconds=settings.PROVISION_TIMEOUT_SECONDS)


def boot_limit(
    *,
    runtime: str,
    workspace_seconds: int | None,
    template_seconds: int | None,
    template_overrides: bool = False,
    policy: Policy,
) -> Limit:
    """Return the sweep limit for booting: override > workspace > template > runtime > default.

    A template's limit that is shorter than its runtime's counts only if it overrides it.
    """
    if policy.override_seconds is not None:
        return _set_limit(policy.override_seconds, LimitSource.OVERRIDE)
    if workspace_seconds:
        return _set_limit(workspace_seconds, LimitSource.WORKSPACE)
    if template_seconds and (template_overrides or template_seconds > runtime_seconds(runtime)):
        return _set_limit(template_seconds, LimitSource.TEMPLATE)
    return _RUNTIME_LIMITS.get(runtime, _DEFAULT_LIMIT)


def runtime_seconds(runtime: str) -> int:
    """Return the boot limit that a runtime has itself; 0 if it has none."""
    return BOOT_LIMITS[runtime].sweep_seconds if runtime in BOOT_LIMITS else 0


def _set_limit(seconds: int, source: LimitSource) -> Limit:
    return Limit(seconds=seconds, source=source, inner_seconds=seconds * (1 - _SLACK_SHARE))


_RUNTIME_LIMITS = {
    runtime: Limit(seconds=row.sweep_seconds, source=LimitSource.RUNTIME, inner_seconds=row.watcher_seconds)
    for runtime, row in BOOT_LIMITS.items()
}
_DEFAULT_LIMIT = Limit(
    seconds=DEFAULT_BOOT_LIMIT.sweep_seconds,
    source=LimitSource.DEFAULT,
    inner_seconds=DEFAULT_BOOT_LIMIT.watcher_seconds,
)


def phase_limit(workspace: Workspace, *, phase: str, policy: Policy) -> Limit:
    """Return the limit of one phase of this workspace's provisioning; with Phase.NONE that of booting."""
    if phase == Phase.LAUNCHING:
        return launching_limit(policy=policy)
    if phase == Phase.QUEUED:
        return queued_limit(policy=policy)
    return boot_limit(
        runtime=workspace.runtime,
        workspace_seconds=workspace.own_limit_seconds,
        template_seconds=workspace.template_timeout_seconds,
        template_overrides=workspace.template_timeout_override,
        policy=policy,
    )


def queued_limit(*, policy: Policy) -> Limit:
    """Return how long a queue may not move before its launches fail."""
    return _fleet_limit(QUEUED_SECONDS, policy=policy, share=1 - _SLACK_SHARE)


def longest_wait() -> Limit:
    """Return how long a launch may wait in a queue that moves."""
    seconds = settings.QUEUE_LONGEST_SECONDS
    return Limit(seconds=seconds, source=LimitSource.LONGEST_WAIT, inner_seconds=seconds * (1 - _SLACK_SHARE))


def launching_limit(*, policy: Policy) -> Limit:
    """Return how long a launch may be launching. The inner limit is the timeout of the backend's start."""
    return _fleet_limit(LAUNCHING_SECONDS, policy=policy, share=_START_SHARE)


def start_retry_seconds(*, policy: Policy) -> float:
    """Return after how many seconds a start without an object counts as lost with its worker and may be tried again."""
    return launching_limit(policy=policy).seconds * _RETRY_SHARE


def _fleet_limit(seconds: int, *, policy: Policy, share: float) -> Limit:
    """Return the limit of a phase that only the override changes."""
    if policy.override_seconds is not None:
        seconds, source = policy.override_seconds, LimitSource.OVERRIDE
    else:
        source = LimitSource.DEFAULT
    return Limit(seconds=seconds, source=source, inner_seconds=seconds * share)


def stored_deadline(workspace: Workspace, *, phase: str, entered_at: datetime, progress_at: datetime) -> datetime:
    """Return the value of `deadline_at` for a phase: its limit, or the stall limit if that comes first.

    The override is not included, because it may be set and unset while a launch is in flight.
    """
    hard = entered_at + timedelta(seconds=phase_limit(workspace, phase=phase, policy=Policy()).seconds)
    if phase != Phase.BOOTING or not workspace.stall_timeout_seconds:
        return hard
    return min(hard, progress_at + timedelta(seconds=workspace.stall_timeout_seconds))


def deadline_in_force(workspace: Workspace, *, policy: Policy) -> Deadline | None:
    """Return the deadline in force, with the override applied, or None if the workspace waits for nothing."""
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
    """Return when the deadline in force passes, or None if the workspace waits for nothing."""
    deadline = deadline_in_force(workspace, policy=policy)
    return deadline.at if deadline else None


def stop_deadline(scheduled_at: datetime) -> datetime:
    """Return when a stop scheduled for this time becomes overdue."""
    return scheduled_at + timedelta(seconds=STOPPING_SECONDS)


def watcher_deadline(workspace: Workspace, *, policy: Policy) -> datetime | None:
    """Return when the watcher takes its last look at a boot, or None if the workspace is not booting."""
    if workspace.phase != Phase.BOOTING or workspace.phase_entered_at is None:
        return None
    limit = phase_limit(workspace, phase=workspace.phase, policy=policy)
    return workspace.phase_entered_at + timedelta(seconds=limit.inner_seconds)


def format_duration(seconds: int) -> str:
    """Return a limit for use in a message: `90 seconds`, `1 minute`, `30 minutes`."""
    if seconds % 60 or seconds < 60:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes" if seconds > 60 else "1 minute"
