"""The sweep: fail what is provisioning beyond its deadline. Time alone is decided here, and nowhere else."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from workspaces.deadlines import Limit, Policy, effective_deadline, limit_of, stalled
from workspaces.lifecycle import FailureCode, FailureSource, Phase, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.failing import Reason, fail_locked

BATCH = 500


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What a sweep did. `set_aside` are rows that the database refused; they are logged and tried by the next one."""

    failed: list[Workspace] = field(default_factory=list)
    set_aside: list[Workspace] = field(default_factory=list)


def sweep_stuck(*, now: datetime, policy: Policy) -> SweepReport:
    """Fail every overdue workspace, each with its event. Harmless beside other sweeps and whoever is quicker."""
    report = SweepReport()
    while _sweep_batch(report, now=now, policy=policy):
        pass
    return report


def overdue(*, now: datetime, policy: Policy) -> Iterator[tuple[Workspace, Reason]]:
    """Look, without touching: who a sweep would fail now, and why."""
    rows = Workspace.objects.provisioning().overdue(now=now, override=policy.override)
    return ((row, reason_for(row, policy=policy)) for row in rows.order_by("deadline_at", "pk").iterator())


@transaction.atomic
def _sweep_batch(report: SweepReport, *, now: datetime, policy: Policy) -> bool:
    """Fail one batch; tell whether there may be more. Who holds a row's lock is dealing with it: it is skipped."""
    rows = _lock_overdue(now=now, policy=policy, without=[row.pk for row in report.set_aside])
    # Asked again on the locked row: what was overdue when it was listed may have registered since.
    reasons = [(row, reason_for(row, policy=policy)) for row in rows if is_overdue(row, now=now, policy=policy)]
    failed, set_aside = fail_locked(reasons, now=now)
    report.failed.extend(failed)
    report.set_aside.extend(set_aside)
    return len(rows) == BATCH


def _lock_overdue(*, now: datetime, policy: Policy, without: list[UUID]) -> list[Workspace]:
    overdue_rows = Workspace.objects.provisioning().overdue(now=now, override=policy.override).exclude(pk__in=without)
    locking = overdue_rows.select_for_update(of=("self",), skip_locked=True, no_key=True)
    return list(locking.order_by("deadline_at", "pk")[:BATCH])


def is_overdue(workspace: Workspace, *, now: datetime, policy: Policy) -> bool:
    """Tell whether this row, as it is now, is past the deadline in force."""
    deadline = effective_deadline(workspace, policy=policy)
    return workspace.status == WorkspaceStatus.PROVISIONING and deadline is not None and deadline <= now


def reason_for(workspace: Workspace, *, policy: Policy) -> Reason:
    """Say why time failed it: which limit, in which phase, and what was seen last. Claims nothing beyond that."""
    limit = limit_of(workspace, phase=workspace.phase, policy=policy)
    code, sentence = _verdict(workspace, policy=policy)
    message = sentence.format(limit=_spoken(limit.seconds), source=limit.source, seen=_last_seen(workspace))
    extra: dict[str, Any] = {"timeout_secs": limit.seconds, "phase": str(workspace.phase)}
    if code == FailureCode.STALLED:
        extra["timeout_secs"] = workspace.stall_timeout_seconds
    known = {"limit_seconds": extra["timeout_secs"], "limit_source": _limit_source(code, limit)}
    return Reason(code=code, source=FailureSource.PROVISION_TIMEOUT_SWEEP, message=message, extra=extra, known=known)


def _limit_source(code: FailureCode, limit: Limit) -> str:
    return "runtime_config.stall_timeout_seconds" if code == FailureCode.STALLED else limit.source.value


def _verdict(workspace: Workspace, *, policy: Policy) -> tuple[FailureCode, str]:
    if stalled(workspace, policy=policy):
        stall = _spoken(workspace.stall_timeout_seconds or 0)
        return FailureCode.STALLED, _STALLED.replace("{stall}", stall)
    return _BY_PHASE[Phase(workspace.phase)]


def _last_seen(workspace: Workspace) -> str:
    if not workspace.progress_step or workspace.progress_at is None:
        return "It reported no boot step."
    at = workspace.progress_at.strftime("%H:%M:%S UTC")
    return f"The last boot step it reported was “{workspace.progress_step}”, at {at}."


def _spoken(seconds: int) -> str:
    if seconds % 60 or seconds < 60:
        return f"{seconds} seconds"
    return f"{seconds // 60} minutes" if seconds > 60 else "1 minute"


_STALLED = (
    "No new boot step for {stall}, the stall limit of its configuration. {seen} "
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
