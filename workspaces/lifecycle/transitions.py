"""The lifecycle of a workspace as plain data: its statuses, its moves, and why one fails. Imports no model.

TRANSITIONS is the only list of moves: services, the database's own guard, documentation and tests read it.
"""

from dataclasses import dataclass
from enum import StrEnum

from django.db.models import TextChoices

from events.names import EventType


class WorkspaceStatus(TextChoices):
    """Where a workspace stands; mirrored by the Postgres enum `workspace_status`, in this order."""

    # Being launched: queued, launching or booting.
    PROVISIONING = "provisioning", "Provisioning"
    # Registered, and its heartbeats arrive.
    ONLINE = "online", "Online"
    # Was online, and is silent or gone.
    OFFLINE = "offline", "Offline"
    # Online, but its agent reports errors or calls itself wedged.
    DEGRADED = "degraded", "Degraded"
    # A launch that did not get online; `failure` says why.
    FAILED = "failed", "Failed"
    # Terminal: nothing leaves it.
    REMOVED = "removed", "Removed"
    # Stopped on purpose, until somebody resumes it.
    PAUSED = "paused", "Paused"
    # Stopped for idleness; a request wakes it.
    HIBERNATED = "hibernated", "Hibernated"
    # Claimed for hibernation; its backend has not confirmed the stop yet.
    HIBERNATING = "hibernating", "Hibernating"
    # External: run by somebody else, who has not connected it.
    AWAITING_AGENT = "awaiting_agent", "Awaiting agent"


def label_of(status: str) -> str:
    """Return a status as people read it; one of newer code, which the database may hold, as it stands there."""
    return WorkspaceStatus(status).label if status in WorkspaceStatus.values else status


class Phase(TextChoices):
    """What a provisioning workspace waits for; each phase has a clock of its own."""

    NONE = "", "–"
    # Its turn among the launches.
    QUEUED = "queued", "Queued"
    # The backend call.
    LAUNCHING = "launching", "Launching"
    # Its agent, to register.
    BOOTING = "booting", "Booting"


class FailureCode(TextChoices):
    """Why a launch failed, as a stable code for scripts; the message beside it is for people."""

    NONE = "", "–"
    MISSING_ENV = "missing_env", "Missing environment variables"
    BAD_CONFIG = "bad_config", "Bad configuration"
    SECRET_UNREADABLE = "secret_unreadable", "Secret unreadable"
    # No launch task ever took it from the queue.
    NEVER_LAUNCHED = "never_launched", "Never launched"
    # The backend refused or failed to start it.
    LAUNCH_ERROR = "launch_error", "Launch error"
    # The process ended before it registered.
    CRASHED = "crashed", "Crashed"
    # Its deadline passed; nothing more is known.
    TIMED_OUT = "timed_out", "Timed out"
    # No new boot step within the runtime's stall limit.
    STALLED = "stalled", "Stalled"
    CANCELLED = "cancelled", "Cancelled"


class FailureSource(TextChoices):
    """Who failed the launch."""

    NONE = "", "–"
    PREFLIGHT = "preflight", "Preflight"
    LAUNCHER = "launcher", "Launcher"
    BOOTSTRAP_WATCHER = "bootstrap_watcher", "Bootstrap watcher"
    PROVISION_TIMEOUT_SWEEP = "provision_timeout_sweep", "Provision timeout sweep"
    AGENT = "agent", "Agent"
    OPERATOR = "operator", "Operator"


class FailureOwner(TextChoices):
    """Whose a failure is: where to look first. Never concluded from time alone."""

    NONE = "", "–"
    # What the operator wrote: config.yaml, secrets.
    CONFIGURATION = "configuration", "Configuration"
    # What runs inside: its runtime, its boot steps.
    IMAGE = "image", "Image"
    # Slipway itself.
    PLATFORM = "platform", "Platform"
    # What it was to run on.
    BACKEND = "backend", "Backend"
    # An answer, too: nothing that was seen tells whose it is.
    UNKNOWN = "unknown", "Unknown"


class RestartPolicy(TextChoices):
    """What happens to a workspace that was online and whose process ended."""

    # It stays offline until somebody restarts it.
    NEVER = "never", "Never"
    # It is restarted, unless its process stopped cleanly.
    ON_FAILURE = "on-failure", "On failure"


class TeardownReason(TextChoices):
    """Why a launch's backend object is to be stopped."""

    NONE = "", "–"
    FAILED = "failed", "Failed"
    RESTARTED = "restarted", "Restarted"
    PAUSED = "paused", "Paused"
    HIBERNATED = "hibernated", "Hibernated"
    # It was online, and its process ended: what is left of it goes too.
    LOST = "lost", "Lost"
    REMOVED = "removed", "Removed"
    # Alive though nothing needs it; see services/reaping.py.
    REAPED = "reaped", "Reaped"
    # Slipway itself was stopped; its next start launches the workspace again.
    SHUT_DOWN = "shut_down", "Slipway shut down"


# Failures that time alone decided. Only these can be taken back by a late arrival.
DEADLINE_FAILURES = frozenset({FailureCode.NEVER_LAUNCHED, FailureCode.TIMED_OUT, FailureCode.STALLED})


class Verb(StrEnum):
    """What is done to a workspace. A verb with several targets has a row of TRANSITIONS for each."""

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
    """One row of the table. No sources: the verb makes the row. `guard` is what else must hold, in words.

    `is_external` marks how an external workspace is created, which the database's own guard asks for too.
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
    sources: set[WorkspaceStatus],
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
        "present launch",
    ),
    _row(Verb.HEARTBEAT, {S.PROVISIONING, S.AWAITING_AGENT, S.OFFLINE}, S.ONLINE, E.WORKSPACE_ONLINE, "present launch"),
    _row(
        Verb.LATE_ARRIVAL,
        {S.FAILED},
        S.ONLINE,
        E.WORKSPACE_ONLINE,
        "present launch, failed by a deadline, before its teardown",
    ),
    _row(Verb.DEGRADE, {S.ONLINE}, S.DEGRADED, E.WORKSPACE_DEGRADED, "error_rate at least 0.5, or wedged"),
    _row(Verb.RECOVER, {S.DEGRADED}, S.ONLINE, E.WORKSPACE_ONLINE, "error_rate below 0.1 and not wedged"),
    _row(Verb.LOSE, {S.ONLINE, S.DEGRADED}, S.OFFLINE, E.WORKSPACE_OFFLINE, "silent beyond the limit, or gone"),
    _row(
        Verb.LOSE,
        {S.ONLINE, S.DEGRADED},
        S.AWAITING_AGENT,
        E.WORKSPACE_AWAITING_AGENT,
        "external, silent beyond the limit",
    ),
    _row(
        Verb.FAIL,
        {S.PROVISIONING},
        S.FAILED,
        E.WORKSPACE_PROVISION_FAILED,
        "present launch; for the sweep: deadline passed",
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
        {S.ONLINE, S.DEGRADED},
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
    """Return the table's row for a verb and the status it leads to. Raises KeyError for a row that isn't there."""
    return _BY_VERB_AND_TARGET[verb, target]


def allowed_moves() -> frozenset[tuple[WorkspaceStatus, WorkspaceStatus]]:
    """Return every (from, to) that some verb allows."""
    return frozenset((source, row.target) for row in TRANSITIONS for source in row.sources)


_BY_VERB_AND_TARGET = {(row.verb, row.target): row for row in TRANSITIONS}
