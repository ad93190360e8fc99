"""Fail a launch: one way for preflight, launcher, watcher, sweep, agent and operator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from workspaces.access.masking import last_bytes, mask
from workspaces.lifecycle.failures import advice_for, owner_of
from workspaces.lifecycle.transitions import (
    DEADLINE_FAILURES,
    FailureCode,
    FailureSource,
    TeardownReason,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import Launch, LaunchOutcome, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    check_source,
    lock_workspace,
    transition,
    transition_each,
)

FAIL = find_transition(Verb.FAIL, WorkspaceStatus.FAILED)
_UNSAID = "No reason was given. The end of the log, where there is one, is all that is known."


@dataclass(frozen=True, kw_only=True)
class FailureReason:
    """Why a launch failed. `message` is for people: what is wrong, what is known, what to do next."""

    code: FailureCode
    source: FailureSource
    message: str
    missing: Sequence[str] = ()
    log_tail: str = ""
    # What only this source knows, for the event: `timeout_secs`, say.
    extra: Mapping[str, Any] = field(default_factory=dict)
    # Facts beside what the row and the watcher's evidence tell: which limit fired, say.
    known: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def fail(*, workspace_id: UUID, launch_id: UUID, reason: FailureReason, now: datetime) -> Workspace:
    """Fail this launch and tell everyone. Raises UnknownWorkspace, or TransitionRefused where it moved on."""
    workspace = lock_workspace(workspace_id)
    check_source(workspace, FAIL)
    if workspace.launch_id != launch_id:
        raise TransitionRefused(workspace, "another launch has begun since.")
    evidence = current_evidence([workspace])
    transition(FAIL, [_step(workspace, _masked(workspace, reason), evidence, now=now)])
    _end_launches([(workspace, reason)], now=now)
    return workspace


@transaction.atomic
def cancel(*, workspace_id: UUID, by: str, now: datetime) -> Workspace:
    """Fail the present launch because an operator says so. Raises UnknownWorkspace or TransitionRefused."""
    workspace = lock_workspace(workspace_id)
    reason = FailureReason(
        code=FailureCode.CANCELLED,
        source=FailureSource.OPERATOR,
        message=f"The launch was cancelled by {by}. Restart the workspace to launch it again.",
    )
    return fail(workspace_id=workspace_id, launch_id=workspace.launch_id, reason=reason, now=now)


def fail_locked(
    reasons: Sequence[tuple[Workspace, FailureReason]], *, now: datetime
) -> tuple[list[Workspace], list[Workspace]]:
    """Fail a locked set, for the sweep; its reasons hold no secrets. Return who was failed, and who couldn't be."""
    evidence = current_evidence([workspace for workspace, _ in reasons])
    left_out = transition_each(FAIL, [_step(workspace, reason, evidence, now=now) for workspace, reason in reasons])
    refused = {step.workspace.pk for step in left_out}
    failed = [(workspace, reason) for workspace, reason in reasons if workspace.pk not in refused]
    _end_launches(failed, now=now)
    return [workspace for workspace, _ in failed], [step.workspace for step in left_out]


def _masked(workspace: Workspace, reason: FailureReason) -> FailureReason:
    return FailureReason(
        code=reason.code,
        source=reason.source,
        message=mask(reason.message, workspace_id=workspace.pk).strip()[:4000] or _UNSAID,
        missing=reason.missing,
        log_tail=last_bytes(mask(reason.log_tail, workspace_id=workspace.pk)),
        extra=reason.extra,
        known=reason.known,
    )


Evidence = Mapping[UUID, Mapping[str, Any]]


def current_evidence(workspaces: Sequence[Workspace]) -> Evidence:
    """Return what the watcher stored of these workspaces' present launches, by launch."""
    rows = Launch.objects.filter(pk__among=[workspace.launch_id for workspace in workspaces]).exclude(evidence={})
    return dict(rows.values_list("pk", "evidence"))


def _step(workspace: Workspace, reason: FailureReason, evidence: Evidence, *, now: datetime) -> StatusChange:
    seen = evidence.get(workspace.launch_id, {})
    # The watcher's last look, for a sweep that sees no log itself; masked when it was stored.
    if seen.get("log_tail") and not reason.log_tail:
        reason = replace(reason, log_tail=str(seen["log_tail"]))
    changes = {
        "failure_code": reason.code,
        "failure_source": reason.source,
        "failure_message": reason.message,
        "failure_at": now,
        "failure_log_tail": reason.log_tail,
        "failure_owner": owner_of(reason.code, source=reason.source, evidence=seen),
        "failure_phase": workspace.phase,
        "failure_known": _known(workspace, reason, seen),
    }
    return StatusChange(workspace=workspace, changes=changes, payload=_payload(workspace, reason, changes))


def _known(workspace: Workspace, reason: FailureReason, seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts at hand, without a guess: what is not known is not there."""
    facts = {
        "last_step": workspace.progress_step,
        "last_step_at": _iso(workspace.progress_at) if workspace.progress_step else None,
        "phase_entered_at": _iso(workspace.phase_entered_at),
        "backend_state": seen.get("state"),
        "exit_code": seen.get("exit_code"),
        "backend_seen_at": seen.get("at"),
        **reason.known,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _payload(workspace: Workspace, reason: FailureReason, changes: Mapping[str, Any]) -> dict[str, Any]:
    payload = {
        "error": reason.message,
        "code": reason.code.value,
        "source": reason.source.value,
        "runtime": workspace.runtime,
        "launch_id": str(workspace.launch_id),
        "owner": changes["failure_owner"].value,
        "phase": str(workspace.phase),
        "known": changes["failure_known"],
        "advice": advice_for(reason.code),
        **reason.extra,
    }
    if reason.missing:
        payload["missing"] = list(reason.missing)
    if reason.log_tail:
        payload["log_tail"] = reason.log_tail
    return payload


def _end_launches(failed: Sequence[tuple[Workspace, FailureReason]], *, now: datetime) -> None:
    """Close the launches and say when their backend objects go: at once, or after the grace where time alone failed."""
    for code in {reason.code for _, reason in failed}:
        launch_ids = [workspace.launch_id for workspace, reason in failed if reason.code == code]
        grace = timedelta(seconds=settings.TEARDOWN_GRACE_SECONDS if code in DEADLINE_FAILURES else 0)
        meant = launch_records.teardown_fields(at=now + grace, reason=TeardownReason.FAILED, now=now)
        # One UPDATE: a launch in flight stands, so its end and the intent to stop it go together.
        Launch.objects.filter(pk__among=launch_ids).update(
            outcome=LaunchOutcome.FAILED, ended_at=now, failure_code=code, **meant
        )
