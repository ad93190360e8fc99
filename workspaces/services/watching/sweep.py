"""The sweep: fail what is provisioning beyond its deadline. Time alone is decided here, and nowhere else."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import transaction

from workspaces.deadlines.policy import Deadline, Limit, Policy, deadline_in_force, format_duration
from workspaces.lifecycle.transitions import FailureCode, FailureSource, Phase, WorkspaceStatus
from workspaces.models import SweepRun, Workspace, WorkspaceQuerySet
from workspaces.services.launching import stalled_queue
from workspaces.services.launching.fail import FailureReason, fail_locked
from workspaces.services.watching import mass_lateness

BATCH = 1000
# So many intervals without a sweep are a fault, not a delay.
MISSED_SWEEPS = 4
# What a flip reads of a row; the rest (its config, its agent's card) may be long.
_NEEDED = (
    *("id", "name", "runtime", "backend", "parent_id", "status", "version", "launch_id"),
    *("phase", "phase_entered_at", "progress_at", "progress_step", "deadline_at", "held_since"),
    *("provision_timeout_seconds", "launch_timeout_seconds"),
    *("template_timeout_seconds", "stall_timeout_seconds"),
)


@dataclass(kw_only=True)
class SweepReport:
    """What a sweep did. `set_aside` are rows that the database refused; they are logged and tried by the next one.

    `looked_at` counts the overdue rows that it read; `postponed` those that await their turn in a queue that moves,
    `held` those that the brake keeps.
    """

    failed: list[Workspace] = field(default_factory=list)
    set_aside: list[Workspace] = field(default_factory=list)
    looked_at: int = 0
    postponed: int = 0
    held: int = 0
    # The earliest deadline that had passed: how late this sweep came.
    earliest_deadline_at: datetime | None = None


def sweep_stuck(*, now: datetime, policy: Policy) -> SweepReport:
    """Fail every overdue workspace, each with its event. Harmless beside other sweeps and whoever is quicker."""
    began = time.monotonic()
    report = SweepReport(held=mass_lateness.hold_mass_lateness(now=now, policy=policy))
    # Nearly always nobody is late: one look, without a transaction.
    is_anybody_late = overdue_workspaces(now=now, policy=policy).exists()
    while is_anybody_late and _sweep_batch(report, now=now, policy=policy):
        pass
    _record(report, now=now, duration_seconds=time.monotonic() - began)
    return report


def last_sweep_run() -> SweepRun | None:
    """Return what the last sweep wrote of itself; None before the first."""
    return SweepRun.objects.first()


def _record(report: SweepReport, *, now: datetime, duration_seconds: float) -> None:
    lag = (now - report.earliest_deadline_at).total_seconds() if report.earliest_deadline_at else 0
    written: dict[str, Any] = {
        "ran_at": now,
        "duration_seconds": duration_seconds,
        "lag_seconds": max(lag, 0),
        "looked_at": report.looked_at,
        "flips": len(report.failed),
        "held": report.held,
        "postponed": report.postponed,
        "set_aside": len(report.set_aside),
    }
    if not SweepRun.objects.update(**written):
        # Created on need, not by a migration: a flushed database has none. Two first sweeps are harmless.
        SweepRun.objects.bulk_create([SweepRun(**written)], ignore_conflicts=True)


def preview_sweep(*, now: datetime, policy: Policy) -> Iterator[tuple[Workspace, FailureReason]]:
    """Look, without touching: who a sweep would fail now, and why."""
    moving = stalled_queue.queue_last_moved_at(now=now, policy=policy)
    to_hold = mass_lateness.would_be_held(now=now, policy=policy)
    for row in overdue_workspaces(now=now, policy=policy).exclude(to_hold).iterator():
        deadline = _passed(row, now=now, policy=policy)
        awaits_its_turn = row.phase == Phase.QUEUED and row.backend in moving
        if deadline is not None and not awaits_its_turn:
            yield row, timeout_reason(row, deadline)


def overdue_workspaces(*, now: datetime, policy: Policy) -> WorkspaceQuerySet:
    """Return who is past the deadline in force and not held, the longest first. A partial index serves either clock."""
    rows = Workspace.objects.provisioning().overdue(now=now, override=policy.override)
    free = rows.filter(held_since__isnull=True)
    return free.only(*_NEEDED).order_by("deadline_at" if policy.override is None else "phase_entered_at", "pk")


def next_deadlines(*, now: datetime, policy: Policy) -> WorkspaceQuerySet:
    """Return whose deadline passes next, the nearest first; those past it are not among them."""
    rows = Workspace.objects.provisioning().only(*_NEEDED)
    if policy.override is None:
        return rows.filter(deadline_at__gt=now).order_by("deadline_at", "pk")
    return rows.filter(phase_entered_at__gt=now - policy.override).order_by("phase_entered_at", "pk")


@transaction.atomic
def _sweep_batch(report: SweepReport, *, now: datetime, policy: Policy) -> bool:
    """Fail one batch; tell whether there may be more. Who holds a row's lock is dealing with it: it is skipped."""
    rows = _lock_overdue(now=now, policy=policy, without=[row.pk for row in report.set_aside])
    if not rows:
        return False
    # Asked again on the locked row: what was overdue when it was listed may have registered since.
    late = [(row, deadline) for row in rows if (deadline := _passed(row, now=now, policy=policy))]
    waiting = stalled_queue.postpone([row for row, _ in late], now=now, policy=policy)
    reasons = [(row, timeout_reason(row, deadline)) for row, deadline in late if row.pk not in waiting]
    failed, set_aside = fail_locked(reasons, now=now)
    _note(report, late, postponed=len(waiting))
    report.failed.extend(failed)
    report.set_aside.extend(set_aside)
    return len(rows) == BATCH


def _note(report: SweepReport, late: list[tuple[Workspace, Deadline]], *, postponed: int) -> None:
    report.looked_at += len(late)
    report.postponed += postponed
    passed = [deadline.at for _, deadline in late]
    known = [report.earliest_deadline_at] if report.earliest_deadline_at else []
    report.earliest_deadline_at = min([*known, *passed], default=None)


def _lock_overdue(*, now: datetime, policy: Policy, without: list[UUID]) -> list[Workspace]:
    rows = overdue_workspaces(now=now, policy=policy)
    if without:
        rows = rows.exclude(pk__among=without)
    return list(rows.select_for_update(of=("self",), skip_locked=True, no_key=True)[:BATCH])


def _passed(workspace: Workspace, *, now: datetime, policy: Policy) -> Deadline | None:
    """Return the deadline in force of this row, as it is now, where it has passed."""
    deadline = deadline_in_force(workspace, policy=policy)
    is_waiting = workspace.status == WorkspaceStatus.PROVISIONING and workspace.held_since is None
    is_late = is_waiting and deadline is not None and deadline.at <= now
    return deadline if is_late else None


def timeout_reason(workspace: Workspace, deadline: Deadline) -> FailureReason:
    """Say why time failed it: which limit, in which phase, and what was seen last. Claims nothing beyond that."""
    stalled_seconds = workspace.stall_timeout_seconds if deadline.is_stall else None
    alike = _reason(workspace.phase, deadline.limit, stalled_seconds)
    return replace(alike, message=alike.message.replace(_SEEN, _last_seen(workspace)))


@lru_cache(maxsize=1024)
def _reason(phase: str, limit: Limit, stalled_seconds: int | None) -> FailureReason:
    """Return the reason of all that such a limit fails; where what was seen of each belongs, it says _SEEN."""
    if stalled_seconds is None:
        code, sentence = _BY_PHASE[Phase(phase)]
        seconds, source = limit.seconds, limit.source.value
    else:
        code, sentence = FailureCode.STALLED, _STALLED
        seconds, source = stalled_seconds, "runtime_config.stall_timeout_seconds"
    return FailureReason(
        code=code,
        source=FailureSource.PROVISION_TIMEOUT_SWEEP,
        message=sentence.format(limit=format_duration(seconds), source=source, seen=_SEEN),
        extra={"timeout_secs": seconds, "phase": phase},
        known={"limit_seconds": seconds, "limit_source": source},
    )


def _last_seen(workspace: Workspace) -> str:
    if not workspace.progress_step or workspace.progress_at is None:
        return "It reported no boot step."
    at = workspace.progress_at.time().isoformat("seconds")
    return f"The last boot step it reported was “{workspace.progress_step}”, at {at} UTC."


_SEEN = "{seen}"
_STALLED = (
    "No new boot step for {limit}, the stall limit of its configuration. {seen} "
    "Look at its log, then restart; raise runtime_config.stall_timeout_seconds if that step is known to take longer."
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
