"""Fail a launch. Preflight, launcher, watcher, sweep, agent and operator all fail it this way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import OuterRef, Subquery

from agent.texts import mend_text, printable
from events.masking.masker import MASK, WINDOW_CHARACTERS
from workspaces.access.masking import masker_of
from workspaces.lifecycle.failures import advice_for, owner_of
from workspaces.lifecycle.transitions import (
    DEADLINE_FAILURES,
    FailureCode,
    FailureOwner,
    FailureSource,
    TeardownReason,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import Launch, LaunchOutcome, Workspace
from workspaces.services.core import launch_records, locked_rows
from workspaces.services.core.guarded_rows import RowFailure, RowGuard
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    UnknownWorkspace,
    check_source,
    lock_workspace,
    transition,
)
from workspaces.services.launching.configuration_changes import changed_since

FAIL = find_transition(Verb.FAIL, WorkspaceStatus.FAILED)
MAX_MESSAGE_CHARACTERS = 4000
_NO_MESSAGE = "No reason was given. Read the end of the log, if there is one."

Evidence = Mapping[UUID, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class FailureReason:
    """Why a launch failed. `message` is for people: what is wrong, what is known, what to do next."""

    code: FailureCode
    source: FailureSource
    message: str
    # Names of missing environment variables.
    missing: Sequence[str] = ()
    log_tail: str = ""
    # Further keys of the event's payload: the sweep's `timeout_secs`, for example.
    extra: Mapping[str, Any] = field(default_factory=dict)
    # Facts that neither the row nor the watcher's evidence has: which limit was reached, for example.
    known: Mapping[str, Any] = field(default_factory=dict)
    # Who has to fix it, if that does not follow from the code.
    owner: FailureOwner | None = None


WorkspaceReason = tuple[Workspace, FailureReason]


@transaction.atomic
def fail(*, workspace_id: UUID, launch_id: UUID, reason: FailureReason, now: datetime) -> Workspace:
    """Fail this launch. Secrets in the reason are masked. Raises UnknownWorkspace.

    Raises TransitionRefused if the workspace is not provisioning or another launch has begun.
    """
    found = locked_rows.read([workspace_id])
    if not found:
        raise UnknownWorkspace(workspace_id)
    check_current(found[0], launch_id)
    # Before the lock, since a long log takes a while, and heartbeats wait for the row.
    masked = masked_reason(reason, workspace_id=workspace_id)
    workspace = lock_workspace(workspace_id)
    check_current(workspace, launch_id)
    evidence = current_evidence([workspace])
    ((_, told),) = with_changed_templates([(workspace, masked)])
    transition(FAIL, [_failure_step(workspace, told, evidence, now=now)])
    _end_launches([(workspace, reason)], now=now)
    return workspace


def check_current(workspace: Workspace, launch_id: UUID) -> None:
    """Raise TransitionRefused if the workspace is not provisioning or another launch has begun."""
    check_source(workspace, FAIL)
    if workspace.launch_id != launch_id:
        raise TransitionRefused(workspace, "another launch has begun since.")


def masked_reason(reason: FailureReason, *, workspace_id: UUID) -> FailureReason:
    """Return the reason without secrets, with a message, and with the end of the log."""
    masker = masker_of(workspace_id)
    message = mend_text(reason.message[:WINDOW_CHARACTERS])
    names = zip(reason.missing, masker.mask_all(list(reason.missing)), strict=True)
    is_reported = reason.source == FailureSource.AGENT
    return replace(
        reason,
        message=masker.mask_start(message, most_characters=MAX_MESSAGE_CHARACTERS) or _NO_MESSAGE,
        # A name that a configuration asks for may have a part in common with a secret.
        missing=[masked if is_reported or masked == MASK else name for name, masked in names],
        log_tail=masker.mask_log_tail(reason.log_tail),
    )


@transaction.atomic
def cancel(*, workspace_id: UUID, by: str, now: datetime) -> Workspace:
    """Fail the current launch on behalf of an operator. Raises UnknownWorkspace or TransitionRefused."""
    workspace = lock_workspace(workspace_id)
    if workspace.status not in FAIL.sources:
        raise TransitionRefused(workspace, "it has no launch that could be cancelled.")
    reason = FailureReason(
        code=FailureCode.CANCELLED,
        source=FailureSource.OPERATOR,
        message=f"The launch was cancelled by {by}. Restart the workspace to launch it again.",
    )
    return fail(workspace_id=workspace_id, launch_id=workspace.launch_id, reason=reason, now=now)


def fail_locked(
    reasons: Sequence[WorkspaceReason], *, now: datetime
) -> tuple[list[Workspace], list[RowFailure[Workspace]]]:
    """Fail locked workspaces for the sweep, whose reasons hold no secrets.

    Return the failed workspaces, and those for which something raised.
    """
    evidence = current_evidence([workspace for workspace, _ in reasons])
    guard = RowGuard[WorkspaceReason](what="It could not be failed", ids=lambda reason: {"workspace_id": reason[0].pk})

    def fail_all(part: Sequence[WorkspaceReason]) -> None:
        steps = [
            _failure_step(workspace, reason, evidence, now=now) for workspace, reason in with_changed_templates(part)
        ]
        transition(FAIL, steps)
        _end_launches(part, now=now)

    guard.handle_together(reasons, fail_all)
    set_aside = [RowFailure(row=failure.row[0], text=failure.text) for failure in guard.failures]
    left = {failure.row.pk for failure in set_aside}
    return [workspace for workspace, _ in reasons if workspace.pk not in left], set_aside


def with_changed_templates(reasons: Sequence[tuple[Workspace, FailureReason]]) -> list[tuple[Workspace, FailureReason]]:
    """Return the reasons; each says if the workspace's template has changed since a launch that came online."""
    since = changed_since(
        [workspace for workspace, _ in reasons], {workspace.pk: reason.code for workspace, reason in reasons}
    )
    told = []
    for workspace, reason in reasons:
        if at := since.get(workspace.pk):
            message = (
                f"{reason.message} Its template {workspace.template} has changed since {at:%Y-%m-%d %H:%M} UTC, "
                "when it last came online. Correct the template and restart it, or relaunch it as before."
            )
            reason = replace(reason, message=message, known={**reason.known, "configured_otherwise_at": at.isoformat()})
        told.append((workspace, reason))
    return told


def current_evidence(workspaces: Sequence[Workspace]) -> Evidence:
    """Return the watcher's last observation of these workspaces' current launches, by launch id."""
    rows = Launch.objects.filter(pk__among={workspace.launch_id for workspace in workspaces}).exclude(evidence={})
    return dict(rows.values_list("pk", "evidence"))


def _failure_step(workspace: Workspace, reason: FailureReason, evidence: Evidence, *, now: datetime) -> StatusChange:
    """Return the stored failure and the payload of its event: {error, code, source, …}, see the wire contract."""
    seen = evidence.get(workspace.launch_id, {})
    # The sweep reads no log, but the watcher stored the end of it, masked.
    log_tail = reason.log_tail or str(seen.get("log_tail") or "")
    owner = reason.owner or owner_of(reason.code, source=reason.source, evidence=seen)
    known = known_facts(workspace, reason, seen)
    changes = {
        "failure_code": reason.code,
        "failure_source": reason.source,
        "failure_message": reason.message,
        "failure_at": now,
        "failure_log_tail": log_tail,
        "failure_owner": owner,
        "failure_phase": workspace.phase,
        "failure_known": known,
    }
    payload = {
        "error": reason.message,
        "code": reason.code.value,
        "source": reason.source.value,
        "runtime": workspace.runtime,
        "launch_id": str(workspace.launch_id),
        "owner": owner.value,
        "phase": str(workspace.phase),
        "known": known,
        "advice": advice_for(reason.code),
        **reason.extra,
    }
    if reason.missing:
        payload["missing"] = list(reason.missing)
    if log_tail:
        payload["log_tail"] = printable(log_tail)
    return StatusChange(workspace=workspace, changes=changes, payload=payload)


def known_facts(workspace: Workspace, reason: FailureReason, seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a failure, times in ISO 8601; a fact that is not known has no key."""
    step_at = workspace.progress_at if workspace.progress_step else None
    facts = {
        "last_step": workspace.progress_step,
        "last_step_at": step_at.isoformat() if step_at else None,
        "phase_entered_at": workspace.phase_entered_at.isoformat() if workspace.phase_entered_at else None,
        "backend_state": seen.get("state"),
        "exit_code": seen.get("exit_code"),
        "backend_seen_at": seen.get("at"),
        **reason.known,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _end_launches(failed: Sequence[WorkspaceReason], *, now: datetime) -> None:
    """End the launches and schedule their teardown: at once, or after the grace if only time failed them.

    Call it after the transition: they take over the workspaces' stored messages.
    """
    message = Workspace.objects.filter(pk=OuterRef("workspace_id")).values("failure_message")
    for code in {reason.code for _, reason in failed}:
        launch_ids = {workspace.launch_id for workspace, reason in failed if reason.code == code}
        grace = timedelta(seconds=settings.TEARDOWN_GRACE_SECONDS if code in DEADLINE_FAILURES else 0)
        teardown = launch_records.teardown_fields(at=now + grace, reason=TeardownReason.FAILED, now=now)
        # One UPDATE for both: a launch in flight is never torn down.
        Launch.objects.filter(pk__among=launch_ids).update(
            outcome=LaunchOutcome.FAILED,
            ended_at=now,
            failure_code=code,
            failure_message=Subquery(message),
            **teardown,
        )
