"""The sweep: fail workspaces that are provisioning beyond their deadline. Nothing else fails a launch by time alone."""

import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import transaction

from workspaces.deadlines.policy import (
    Deadline,
    Limit,
    LimitSource,
    Policy,
    deadline_in_force,
    format_duration,
    longest_wait,
)
from workspaces.lifecycle.transitions import FailureCode, FailureSource, Phase, WorkspaceStatus
from workspaces.models import SweepRun, Workspace, WorkspaceQuerySet
from workspaces.services.core.guarded_rows import RowFailure, RowGuard
from workspaces.services.launching import stalled_queue
from workspaces.services.launching.fail import FailureReason, fail_locked
from workspaces.services.watching import mass_lateness, outages

BATCH = 1000
# After this many intervals without a sweep, readiness and the admin say that the sweep does not run.
MISSED_SWEEPS = 4
NOT_SWEPT = "It could not be swept"
# The fields that failing a workspace reads. The others, such as config and agent card, may be large.
_NEEDED = (
    *("id", "name", "template", "kept_configuration_id", "runtime", "backend", "parent_id"),
    *("status", "version", "launch_id", "provisioning_started_at"),
    *("phase", "phase_entered_at", "progress_at", "progress_step", "deadline_at", "held_since"),
    *("provision_timeout_seconds", "launch_timeout_seconds"),
    *("template_timeout_seconds", "template_timeout_override", "stall_timeout_seconds"),
)


@dataclass(kw_only=True)
class SweepReport:
    """What one sweep did."""

    failed: list[Workspace] = field(default_factory=list)
    # Workspaces whose handling raised something. They are logged, and the next sweep tries them again.
    set_aside: list[RowFailure[Workspace]] = field(default_factory=list)
    # How many overdue workspaces it read.
    looked_at: int = 0
    # How many wait in a queue that moves.
    postponed: int = 0
    # How many are held because many launches are late together.
    held: int = 0
    # The earliest deadline that had passed: it tells how late this sweep came.
    earliest_deadline_at: datetime | None = None

    def as_run(self, *, now: datetime, duration_seconds: float) -> dict[str, Any]:
        """Return the fields of the SweepRun that records this sweep."""
        lag = (now - self.earliest_deadline_at).total_seconds() if self.earliest_deadline_at else 0
        return {
            "ran_at": now,
            "duration_seconds": duration_seconds,
            "lag_seconds": max(lag, 0),
            "looked_at": self.looked_at,
            "flips": len(self.failed),
            "held": self.held,
            "postponed": self.postponed,
            "set_aside": len(self.set_aside),
        }


@dataclass(frozen=True, kw_only=True)
class SweepPreview:
    """What a sweep would do."""

    reasons: list[tuple[Workspace, FailureReason]]
    set_aside: list[RowFailure[Workspace]]


def sweep_stuck(*, now: datetime, policy: Policy) -> SweepReport:
    """Fail every overdue workspace and record an event for each.

    Each batch is a transaction of its own. Rows that another transaction has locked are skipped, so several sweeps may
    run at once.
    """
    started = time.monotonic()
    report = SweepReport(held=mass_lateness.hold_mass_lateness(now=now, policy=policy))
    # Usually no workspace is late, and this query without a transaction is all.
    has_more = overdue_workspaces(now=now, policy=policy).exists()
    while has_more:
        has_more = _sweep_batch(report, now=now, policy=policy)
    run = report.as_run(now=now, duration_seconds=time.monotonic() - started)
    if not SweepRun.objects.update(**run):
        # A new or flushed database has no row yet. Two sweeps may both create it, so conflicts are ignored.
        SweepRun.objects.bulk_create([SweepRun(**run)], ignore_conflicts=True)
    return report


def last_sweep_run() -> SweepRun | None:
    """Return the record of the last sweep, or None before the first."""
    return SweepRun.objects.first()


def preview_sweep(*, now: datetime, policy: Policy) -> SweepPreview:
    """Return which workspaces a sweep would fail now, with the reasons. Changes nothing."""
    queues = _read_queues(now=now, policy=policy)
    to_hold = mass_lateness.would_be_held(now=now, policy=policy)
    guard = RowGuard[Workspace](what=NOT_SWEPT)
    reasons = []
    for row in overdue_workspaces(now=now, policy=policy).exclude(to_hold).iterator():
        with guard.handling(row, is_read_only=True):
            deadline = _passed_deadline(row, now=now, policy=policy)
            if deadline is not None and not queues.may_wait(row):
                reasons.append((row, timeout_reason(row, deadline, is_moving=queues.is_moving(row))))
    return SweepPreview(reasons=reasons, set_aside=guard.failures)


def overdue_workspaces(*, now: datetime, policy: Policy) -> WorkspaceQuerySet:
    """Return the workspaces past the deadline in force and not held, the longest overdue first.

    A partial index serves this query, `workspace_deadline` without an override and `workspace_phase_entered` with one.
    """
    rows = Workspace.objects.provisioning().overdue(now=now, override=policy.override)
    not_held = rows.filter(held_since__isnull=True)
    return not_held.only(*_NEEDED).order_by("deadline_at" if policy.override is None else "phase_entered_at", "pk")


def next_deadlines(*, now: datetime, policy: Policy) -> WorkspaceQuerySet:
    """Return the provisioning workspaces whose deadline is still to come, the nearest first."""
    rows = Workspace.objects.provisioning().only(*_NEEDED)
    if policy.override is None:
        return rows.filter(deadline_at__gt=now).order_by("deadline_at", "pk")
    return rows.filter(phase_entered_at__gt=now - policy.override).order_by("phase_entered_at", "pk")


@transaction.atomic
def _sweep_batch(report: SweepReport, *, now: datetime, policy: Policy) -> bool:
    """Fail one batch, add it to the report, and tell whether there may be more."""
    overdue = overdue_workspaces(now=now, policy=policy)
    if report.set_aside:
        overdue = overdue.exclude(pk__among={failure.row.pk for failure in report.set_aside})
    rows = list(overdue.select_for_update(of=("self",), skip_locked=True, no_key=True)[:BATCH])
    if not rows:
        return False
    guard = RowGuard[Workspace](what=NOT_SWEPT)
    late: list[tuple[Workspace, Deadline]] = []
    for row in rows:
        with guard.handling(row, is_read_only=True):
            # Ask again about the locked row: its agent may have registered since the query listed it.
            if deadline := _passed_deadline(row, now=now, policy=policy):
                late.append((row, deadline))
    report.looked_at += len(late) + len(guard.failures)
    any_queued = any(row.phase == Phase.QUEUED for row, _ in late)
    queues = _read_queues(now=now, policy=policy) if any_queued else stalled_queue.NONE_MOVES
    waiting = stalled_queue.postpone([row for row, _ in late], queues=queues, now=now, policy=policy)
    reasons = []
    for row, deadline in late:
        with guard.handling(row, is_read_only=True):
            if row.pk not in waiting:
                reasons.append((row, timeout_reason(row, deadline, is_moving=queues.is_moving(row))))
    failed, set_aside = fail_locked(reasons, now=now)
    report.postponed += len(waiting)
    report.failed.extend(failed)
    report.set_aside.extend([*guard.failures, *set_aside])
    known = [report.earliest_deadline_at] if report.earliest_deadline_at else []
    report.earliest_deadline_at = min([*known, *(deadline.at for _, deadline in late)], default=None)
    return len(rows) == BATCH


def _read_queues(*, now: datetime, policy: Policy) -> stalled_queue.Queues:
    longest_since = outages.heartbeat_cutoff(now=now, limit=timedelta(seconds=longest_wait().seconds))
    return stalled_queue.read_queues(longest_since=longest_since, now=now, policy=policy)


def _passed_deadline(workspace: Workspace, *, now: datetime, policy: Policy) -> Deadline | None:
    """Return the deadline that this workspace has passed; None if it has not, is held, or is no longer provisioning."""
    if workspace.status != WorkspaceStatus.PROVISIONING or workspace.held_since is not None:
        return None
    deadline = deadline_in_force(workspace, policy=policy)
    return deadline if deadline is not None and deadline.at <= now else None


def timeout_reason(workspace: Workspace, deadline: Deadline, *, is_moving: bool = False) -> FailureReason:
    """Return the reason of a failure by time: which limit, in which phase, and the last boot step if there is one.

    `is_moving` says that it waits in a queue that moves, so that it failed by the longest wait.
    """
    stall_seconds = workspace.stall_timeout_seconds if deadline.is_stall else None
    limit = longest_wait() if is_moving else deadline.limit
    reason = _reason_of_limit(workspace.phase, limit, stall_seconds)
    last_seen = "It reported no boot step."
    if workspace.progress_step and workspace.progress_at is not None:
        at = workspace.progress_at.time().isoformat("seconds")
        last_seen = f"The last boot step it reported was “{workspace.progress_step}”, at {at} UTC."
    return replace(reason, message=reason.message.replace(_SEEN, last_seen))


@lru_cache(maxsize=1024)
def _reason_of_limit(phase: str, limit: Limit, stall_seconds: int | None) -> FailureReason:
    """Return what all failures by this limit share. The message contains _SEEN where the last boot step belongs.

    Cached because a sweep may fail thousands of workspaces by the same few limits.
    """
    if limit.source == LimitSource.LONGEST_WAIT:
        code, sentence = FailureCode.NEVER_LAUNCHED, _WAITED_TOO_LONG
        seconds, source = limit.seconds, limit.source.value
    elif stall_seconds is None:
        code, sentence = _BY_PHASE[Phase(phase)]
        seconds, source = limit.seconds, limit.source.value
    else:
        code, sentence = FailureCode.STALLED, _STALLED
        seconds, source = stall_seconds, "runtime_config.stall_timeout_seconds"
    return FailureReason(
        code=code,
        source=FailureSource.PROVISION_TIMEOUT_SWEEP,
        message=sentence.format(limit=format_duration(seconds), source=source, seen=_SEEN),
        extra={"timeout_secs": seconds, "phase": phase},
        known={"limit_seconds": seconds, "limit_source": source},
    )


_SEEN = "{seen}"
_STALLED = (
    "No new boot step for {limit}, the stall limit of its configuration. {seen} "
    "Look at its log, then restart; raise runtime_config.stall_timeout_seconds if that step is known to take longer."
)
_WAITED_TOO_LONG = (
    "It waited in its backend's queue for {limit}, the longest time allowed ({source}), although others were taken "
    "from it. Nothing was started. Restart it; raise {source} if so many launches are meant to wait."
)
_BY_PHASE = {
    Phase.NONE: (FailureCode.TIMED_OUT, "It was provisioning for longer than {limit} ({source}). Restart it."),
    Phase.QUEUED: (
        FailureCode.NEVER_LAUNCHED,
        "No launch worker took it from the queue within {limit} ({source}), so nothing was started. "
        "Check that a launch worker is running, then restart.",
    ),
    Phase.LAUNCHING: (
        FailureCode.TIMED_OUT,
        "Its backend did not confirm the start within {limit} ({source}); whether anything started is not known. "
        "Look at the launch worker's log, then restart.",
    ),
    Phase.BOOTING: (
        FailureCode.TIMED_OUT,
        "Its agent did not register within {limit} of its start ({source} limit). {seen} "
        "Look at its log, then restart; raise provision_timeout_seconds if its boot is known to take longer.",
    ),
}
