"""The lifecycle of a workspace as plain data: statuses, allowed transitions, failure codes. Imports no model.

TRANSITIONS is the only list of allowed transitions. Services, the database trigger, the docs and the tests read it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import TextChoices

from events.names import EventType


class WorkspaceStatus(TextChoices):
    """The status of a workspace."""

    # Mirrored by the Postgres enum `workspace_status`, in this order.

    # Being launched: queued, launching or booting.
    PROVISIONING = "provisioning", "Provisioning"
    # Its agent has registered and sends heartbeats.
    ONLINE = "online", "Online"
    # It was online; now its agent is silent or its process has ended.
    OFFLINE = "offline", "Offline"
    # Online, but its agent reports errors or says that it is wedged.
    DEGRADED = "degraded", "Degraded"
    # Its launch did not come online; `failure` says why.
    FAILED = "failed", "Failed"
    # Terminal: no transition leaves it.
    REMOVED = "removed", "Removed"
    # Stopped by an operator until somebody resumes it.
    PAUSED = "paused", "Paused"
    # Stopped because it was idle; a request wakes it.
    HIBERNATED = "hibernated", "Hibernated"
    # Its stop is scheduled; the backend has not confirmed it yet.
    HIBERNATING = "hibernating", "Hibernating"
    # External: somebody else runs it and has not connected it yet.
    AWAITING_AGENT = "awaiting_agent", "Awaiting agent"


# Sets of statuses that several places ask for, each in the order of the enum.

# The agent has registered and is expected to send heartbeats.
RUNNING = (WorkspaceStatus.ONLINE, WorkspaceStatus.DEGRADED)
# Launched, and not stopped on purpose: a shutdown of Slipway pauses these.
ACTIVE = (WorkspaceStatus.PROVISIONING, WorkspaceStatus.ONLINE, WorkspaceStatus.OFFLINE, WorkspaceStatus.DEGRADED)
# No process may run. `failed` is not among them: its process may run until the launch's `teardown_at`.
STOPPED = (WorkspaceStatus.REMOVED, WorkspaceStatus.PAUSED, WorkspaceStatus.HIBERNATED)
# Waits for something, so `deadline_at` is set.
WITH_DEADLINE = (WorkspaceStatus.PROVISIONING, WorkspaceStatus.HIBERNATING)
# The agent of the current launch has not registered yet.
BEFORE_REGISTRATION = (WorkspaceStatus.PROVISIONING, WorkspaceStatus.AWAITING_AGENT)
# Entering one of these clears the stored failure.
CLEARS_FAILURE = (WorkspaceStatus.PROVISIONING, WorkspaceStatus.ONLINE, WorkspaceStatus.AWAITING_AGENT)


def label_of(status: str) -> str:
    """Return the status's label, or the status itself if only newer code knows it."""
    return WorkspaceStatus(status).label if status in WorkspaceStatus.values else status


class Phase(TextChoices):
    """What a provisioning workspace waits for. Each phase has its own deadline."""

    NONE = "", "–"
    # For a launch worker.
    QUEUED = "queued", "Queued"
    # For the backend to start it.
    LAUNCHING = "launching", "Launching"
    # For its agent to register.
    BOOTING = "booting", "Booting"


class FailureCode(TextChoices):
    """Why a launch failed, as a stable code for scripts; the message beside it is for people."""

    NONE = "", "–"
    MISSING_ENV = "missing_env", "Missing environment variables"
    BAD_CONFIG = "bad_config", "Bad configuration"
    SECRET_UNREADABLE = "secret_unreadable", "Secret unreadable"
    # No worker took it from the queue.
    NEVER_LAUNCHED = "never_launched", "Never launched"
    # The backend refused or failed to start it.
    LAUNCH_ERROR = "launch_error", "Launch error"
    # The process ended before it registered.
    CRASHED = "crashed", "Crashed"
    # It was restarted by its policy and crashed again, before it had been online for long enough.
    CRASH_LOOP = "crash_loop", "Crash loop"
    # Its deadline passed and nothing more is known.
    TIMED_OUT = "timed_out", "Timed out"
    # No new boot step within the runtime's stall limit.
    STALLED = "stalled", "Stalled"
    CANCELLED = "cancelled", "Cancelled"


class FailureSource(TextChoices):
    """Which part of Slipway, or who else, failed the launch."""

    NONE = "", "–"
    PREFLIGHT = "preflight", "Preflight"
    LAUNCHER = "launcher", "Launcher"
    BOOTSTRAP_WATCHER = "bootstrap_watcher", "Bootstrap watcher"
    PROVISION_TIMEOUT_SWEEP = "provision_timeout_sweep", "Provision timeout sweep"
    AGENT = "agent", "Agent"
    OPERATOR = "operator", "Operator"


class FailureOwner(TextChoices):
    """Who has to fix a failure. Never concluded from elapsed time alone."""

    NONE = "", "–"
    # The operator's config.yaml or secrets.
    CONFIGURATION = "configuration", "Configuration"
    # The runtime or the boot steps.
    IMAGE = "image", "Image"
    # Slipway itself.
    PLATFORM = "platform", "Platform"
    # The backend that should have run it.
    BACKEND = "backend", "Backend"
    # The evidence does not tell.
    UNKNOWN = "unknown", "Unknown"


class RestartPolicy(TextChoices):
    """Whether Slipway restarts a workspace that was online and whose process ended."""

    # Leave it offline until somebody restarts it.
    NEVER = "never", "Never"
    # Restart it unless its process exited with status 0.
    ON_FAILURE = "on-failure", "On failure"


class BudgetAction(TextChoices):
    """What happens when a workspace has spent its budget of the month."""

    # Tell it, and let it go on.
    NOTIFY = "notify", "Notify"
    # Tell it and pause the workspace.
    PAUSE = "pause", "Pause"


class RuntimeState(StrEnum):
    """What an agent says about its runtime."""

    FINE = ""
    WEDGED = "wedged"


class TeardownReason(TextChoices):
    """Why a launch's backend object is to be stopped."""

    NONE = "", "–"
    FAILED = "failed", "Failed"
    RESTARTED = "restarted", "Restarted"
    PAUSED = "paused", "Paused"
    HIBERNATED = "hibernated", "Hibernated"
    # It was online and its process ended; stop whatever is left of it.
    LOST = "lost", "Lost"
    REMOVED = "removed", "Removed"
    # It runs although nothing needs it; see services/stopping/reaper.py.
    REAPED = "reaped", "Reaped"
    # Slipway itself was stopped; its next start relaunches the workspace.
    SHUT_DOWN = "shut_down", "Slipway shut down"


# Failures decided by elapsed time alone. A late registration or heartbeat can undo only these.
DEADLINE_FAILURES = frozenset({FailureCode.NEVER_LAUNCHED, FailureCode.TIMED_OUT, FailureCode.STALLED})


class Verb(StrEnum):
    """What is done to a workspace. A verb with several targets has one transition for each."""

    CREATE = "create"
    REGISTER = "register"
    HEARTBEAT = "heartbeat"
    LATE_ARRIVAL = "late arrival"
    DEGRADE = "degrade"
    RECOVER = "recover"
    LOSE = "lose"
    FAIL = "fail"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"
    HIBERNATE = "hibernate"
    CONFIRM_HIBERNATION = "hibernated"
    UNDO_HIBERNATION = "hibernation undone"
    WAKE = "wake"
    REMOVE = "remove"


@dataclass(frozen=True, kw_only=True)
class Transition:
    """An allowed transition: `verb` leads from any of `sources` to `target` and writes `event`.

    Without sources the verb creates the workspace. `guard` says in words what else must hold; the verb's service
    checks it. `is_external` marks the creation of external workspaces, which the database trigger checks too.
    """

    verb: Verb
    sources: frozenset[WorkspaceStatus]
    target: WorkspaceStatus
    event: EventType
    guard: str = ""
    is_external: bool = False


S = WorkspaceStatus
E = EventType


def _row(
    verb: Verb,
    sources: Iterable[WorkspaceStatus],
    target: WorkspaceStatus,
    event: EventType,
    guard: str = "",
    *,
    is_external: bool = False,
) -> Transition:
    return Transition(
        verb=verb, sources=frozenset(sources), target=target, event=event, guard=guard, is_external=is_external
    )


_RESTARTABLE = {S.PROVISIONING, S.ONLINE, S.DEGRADED, S.OFFLINE, S.FAILED, S.HIBERNATING}
_PAUSABLE = _RESTARTABLE | {S.AWAITING_AGENT, S.HIBERNATED}

TRANSITIONS: tuple[Transition, ...] = (
    _row(Verb.CREATE, set(), S.PROVISIONING, E.WORKSPACE_PROVISIONING),
    _row(Verb.CREATE, set(), S.AWAITING_AGENT, E.WORKSPACE_AWAITING_AGENT, "external", is_external=True),
    _row(Verb.CREATE, set(), S.ONLINE, E.WORKSPACE_ONLINE, "external, with a url", is_external=True),
    _row(
        Verb.REGISTER,
        {S.PROVISIONING, S.AWAITING_AGENT, S.OFFLINE, S.DEGRADED},
        S.ONLINE,
        E.WORKSPACE_ONLINE,
        "current launch",
    ),
    _row(Verb.HEARTBEAT, {S.PROVISIONING, S.AWAITING_AGENT, S.OFFLINE}, S.ONLINE, E.WORKSPACE_ONLINE, "current launch"),
    _row(
        Verb.LATE_ARRIVAL,
        {S.FAILED},
        S.ONLINE,
        E.WORKSPACE_ONLINE,
        "current launch, failed by a deadline, before its teardown",
    ),
    _row(Verb.DEGRADE, {S.ONLINE}, S.DEGRADED, E.WORKSPACE_DEGRADED, "error_rate at least 0.5, or wedged"),
    _row(Verb.RECOVER, {S.DEGRADED}, S.ONLINE, E.WORKSPACE_ONLINE, "error_rate below 0.1 and not wedged"),
    _row(Verb.LOSE, RUNNING, S.OFFLINE, E.WORKSPACE_OFFLINE, "silent beyond the limit, or gone"),
    _row(
        Verb.LOSE,
        RUNNING,
        S.AWAITING_AGENT,
        E.WORKSPACE_AWAITING_AGENT,
        "external, silent beyond the limit",
    ),
    _row(
        Verb.FAIL,
        {S.PROVISIONING},
        S.FAILED,
        E.WORKSPACE_PROVISION_FAILED,
        "current launch; for the sweep: deadline passed",
    ),
    _row(Verb.RESTART, _RESTARTABLE, S.PROVISIONING, E.WORKSPACE_PROVISIONING, "new launch"),
    _row(
        Verb.RESTART,
        (_RESTARTABLE - {S.PROVISIONING, S.HIBERNATING}) | {S.AWAITING_AGENT},
        S.AWAITING_AGENT,
        E.WORKSPACE_AWAITING_AGENT,
        "external; new token",
    ),
    _row(Verb.PAUSE, _PAUSABLE, S.PAUSED, E.WORKSPACE_PAUSED, "descendants too"),
    _row(Verb.RESUME, {S.PAUSED}, S.PROVISIONING, E.WORKSPACE_PROVISIONING, "no paused ancestor; new launch"),
    _row(Verb.RESUME, {S.PAUSED}, S.AWAITING_AGENT, E.WORKSPACE_AWAITING_AGENT, "external; no paused ancestor"),
    _row(
        Verb.HIBERNATE,
        RUNNING,
        S.HIBERNATING,
        E.WORKSPACE_HIBERNATING,
        "no active task, or forced; never external",
    ),
    _row(Verb.CONFIRM_HIBERNATION, {S.HIBERNATING}, S.HIBERNATED, E.WORKSPACE_HIBERNATED, "backend confirmed the stop"),
    _row(
        Verb.UNDO_HIBERNATION,
        {S.HIBERNATING},
        S.ONLINE,
        E.WORKSPACE_ONLINE,
        "a task began before the stop was sent, or it is seen running after the deadline",
    ),
    _row(Verb.UNDO_HIBERNATION, {S.HIBERNATING}, S.OFFLINE, E.WORKSPACE_OFFLINE, "deadline passed, not seen running"),
    _row(Verb.WAKE, {S.HIBERNATED}, S.PROVISIONING, E.WORKSPACE_PROVISIONING, "new launch"),
    _row(Verb.REMOVE, set(S) - {S.REMOVED}, S.REMOVED, E.WORKSPACE_REMOVED, "descendants too"),
)


def find_transition(verb: Verb, target: WorkspaceStatus) -> Transition:
    """Return the transition by which the verb leads to the target. Raises KeyError if there is none."""
    try:
        return _BY_VERB_AND_TARGET[verb, target]
    except KeyError:
        raise KeyError(f"TRANSITIONS has no row by which {verb} leads to {target}.") from None


def allowed_moves() -> frozenset[tuple[WorkspaceStatus, WorkspaceStatus]]:
    """Return every (from, to) pair that some verb allows."""
    return frozenset((source, row.target) for row in TRANSITIONS for source in row.sources)


_BY_VERB_AND_TARGET = {(row.verb, row.target): row for row in TRANSITIONS}
