"""The overview of a workspace that the commands and the admin show."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from workspaces.deadlines.policy import Policy, effective_deadline
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Workspace
from workspaces.provisioners.base import BackendState, describe_exit
from workspaces.services.core.guarded_rows import RowGuard


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The main facts of a workspace. `deadline_at` is its effective deadline.

    `error` says why the others are not known.
    """

    workspace: Workspace
    age: timedelta = timedelta(0)
    deadline_at: datetime | None = None
    seconds_left: int | None = None
    error: str = ""

    @property
    def status(self) -> str:
        """Return the status; a plain string if only newer code knows it."""
        return self.workspace.status

    @property
    def phase(self) -> str:
        """Return the phase, its boot step and its detail, `booting · install · 40 %`; empty when the boot is over."""
        if not self.workspace.phase:
            return ""
        parts = (str(self.workspace.phase), self.workspace.progress_step, self.workspace.progress_detail)
        return " · ".join(part for part in parts if part)

    @property
    def failure(self) -> str:
        """Return the code and the message of the failure as one text, or an empty one."""
        if self.error:
            return self.error
        if not self.workspace.failure_code and (loop := describe_crash_loop(self.workspace)):
            return f"{FailureCode.CRASH_LOOP.value}: {loop}"
        if not self.workspace.failure_code:
            return ""
        return f"{self.workspace.failure_code}: {self.workspace.failure_message}"


def describe_crash_loop(workspace: Workspace) -> str:
    """Return how often a workspace has crashed again and again, and what comes next; empty if it is in no loop."""
    loop = workspace.crash_loop
    if not loop:
        return ""
    number, most = loop["attempt"], loop["most_attempts"]
    restart = f"restart {number} of {most} at {loop['next_attempt_at']}"
    if loop["gave_up"]:
        restart = f"given up after {number} of {most} restarts"
    elif not loop["next_attempt_at"]:
        restart = f"restarted, attempt {number} of {most}"
    ended = "lost by its backend" if loop["state"] == BackendState.MISSING else describe_exit(loop["exit_code"])
    return f"{loop['count']} crashes, {restart}; the last process {ended} at {loop['at'][:19]} UTC"


def overview(workspace: Workspace, *, now: datetime, policy: Policy) -> Overview:
    """Return the overview. The age counts from the current launch, or from the creation if there was none.

    Never raises, so that a list shows the others, and this one with what went wrong.
    """
    guard = RowGuard[Workspace](what="It could not be shown")
    with guard.handling(workspace, is_read_only=True):
        deadline = effective_deadline(workspace, policy=policy)
        return Overview(
            workspace=workspace,
            age=max(now - (workspace.provisioning_started_at or workspace.created_at), timedelta(0)),
            deadline_at=deadline,
            seconds_left=None if deadline is None else round((deadline - now).total_seconds()),
        )
    return Overview(workspace=workspace, error=guard.failures[0].text)


def overview_json(facts: Overview) -> dict[str, Any]:
    """Return the overview as a JSON object, times in ISO 8601."""
    workspace = facts.workspace
    return {
        "id": str(workspace.pk),
        "name": workspace.name,
        "runtime": workspace.runtime,
        "status": str(workspace.status),
        "version": workspace.version,
        "phase": str(workspace.phase) or None,
        "progress_step": workspace.progress_step or None,
        "progress_detail": workspace.progress_detail or None,
        "created_at": _iso(workspace.created_at),
        "provisioning_started_at": _iso(workspace.provisioning_started_at),
        "age_seconds": int(facts.age.total_seconds()),
        "deadline_at": _iso(facts.deadline_at),
        **({"error": facts.error} if facts.error else {}),
        "crash_loop": workspace.crash_loop or None,
        "failure": None if workspace.failure is None else {**workspace.failure, "at": _iso(workspace.failure_at)},
    }


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: `3 min 20 s`."""
    left = max(int(seconds), 0)
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def format_time_left(seconds: int) -> str:
    """Return the time until a deadline, `in 3 min 20 s`, or since it: `20 s ago`."""
    return f"in {format_duration(seconds)}" if seconds > 0 else f"{format_duration(-seconds)} ago"


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
