"""What Slipway does when a workspace's agent, or a watcher, reports something."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Case, DateTimeField, F, JSONField, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from registry.live_updates import publish_heartbeat
from registry.schemas import HeartbeatIn, RuntimeState
from workspaces.access import agent_urls, secrets
from workspaces.access.authentication import Agent
from workspaces.access.masking import WINDOW_CHARACTERS, Masker, masker_of
from workspaces.lifecycle.transitions import (
    RUNNING,
    FailureCode,
    FailureSource,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import Heartbeat, Workspace
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.launching import mark_online
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.stopping import hibernate
from workspaces.services.watching import liveness

# From the wire contract. Between the two nothing changes, so that a rate near one limit doesn't flap.
DEGRADED_FROM = 0.5
RECOVERED_BELOW = 0.1
MAX_TEXT_CHARACTERS = 4000

Clock = Callable[[], datetime]

# A heartbeat may bring a workspace with one of these online.
_BROUGHT_ONLINE = find_transition(Verb.HEARTBEAT, WorkspaceStatus.ONLINE).sources | {WorkspaceStatus.FAILED}


def register(agent: Agent, *, url: str, agent_card: Mapping[str, Any] | None, now: datetime) -> Mapping[str, str]:
    """Bring the agent's workspace online. Without a card it keeps the earlier one. Return why a field was ignored.

    Raises TransitionRefused, or ForbiddenUrl if no agent may have this URL.
    """
    if sends_address := not agent.backend.gives_address:
        agent_urls.check_agent_url(url)
    needs_secrets = sends_address or agent_card is not None
    values = list(chain(*secrets.readable_values({agent.workspace_id}).values())) if needs_secrets else []
    if sends_address:
        agent_urls.check_without_secrets(url, values, workspace_id=agent.workspace_id)
    card = None
    if agent_card is not None:
        card = Masker(values, workspace_id=agent.workspace_id).mask_strings(dict(agent_card))
    workspace = mark_online.mark_online(
        workspace_id=agent.workspace_id,
        launch_id=agent.launch_id,
        verb=Verb.REGISTER,
        registration=mark_online.Registration(url=url, agent_card=card),
        now=now,
    )
    if card is None or workspace.agent_card == card:
        return {}
    limit = mark_online.MOST_CARD_CHANGES_PER_HOUR
    return {"agent_card": f"it changed {limit} times within an hour; the earlier card stays until then"}


def heartbeat(agent: Agent, report: HeartbeatIn, *, clock: Clock) -> None:
    """Store what a heartbeat reports, change the status if it calls for that, and publish it.

    The usual heartbeat costs one narrow UPDATE. If the process dies before the status changes, the next heartbeat
    changes it. `clock` is read only for a heartbeat that may bring the workspace online.
    """
    columns = _columns(report, workspace_id=agent.workspace_id)
    # The launch ID is part of the condition, since the workspace may have restarted after the token was looked up.
    row = Heartbeat.objects.filter(pk=agent.workspace_id, launch_id=agent.launch_id)
    # The first heartbeat of a task keeps its workspace from hibernating, so its answer waits for the disk.
    begins_task = report.active_tasks and not agent.snapshot.active_tasks
    (row if begins_task else row.committed_asynchronously()).update(last_heartbeat_at=Now(), **columns)

    if agent.status in _BROUGHT_ONLINE:
        # If the launch has failed for good, or the workspace was changed meanwhile, the heartbeat is stored only.
        with suppress(TransitionRefused):
            mark_online.mark_online(
                workspace_id=agent.workspace_id,
                launch_id=agent.launch_id,
                verb=Verb.HEARTBEAT,
                registration=None,
                now=clock(),
            )
    elif agent.status == WorkspaceStatus.HIBERNATING and report.active_tasks:
        hibernate.undo_for_new_task(workspace_id=agent.workspace_id, launch_id=agent.launch_id)
    elif agent.status in RUNNING and (report.error_rate is not None or report.runtime_state is not None):
        _degrade_or_recover(agent, report)
    publish_heartbeat(agent, columns)


def fail_by_agent(
    agent: Agent, *, code: FailureCode, error: str, missing: list[str], log_tail: str, clock: Clock
) -> bool:
    """Fail the agent's launch because it says that it can't go on.

    Return False if it is no longer the workspace's current launch, or has ended.
    """
    reason = FailureReason(
        code=code,
        source=FailureSource.AGENT,
        message=error,
        missing=missing,
        log_tail=log_tail,
    )
    return _fail(agent.workspace_id, agent.launch_id, reason, now=clock())


def fail_by_watcher(*, workspace_id: UUID, launch_id: UUID | None, error: str, log_tail: str, now: datetime) -> bool:
    """Fail a launch because a watcher saw its bootstrap fail; the current launch if `launch_id` is None.

    Return False if it is no longer the workspace's current launch, or has ended. Raises UnknownWorkspace.
    """
    workspace = Workspace.objects.filter(pk=workspace_id).first()
    if workspace is None:
        raise UnknownWorkspace(workspace_id)
    reason = FailureReason(
        code=FailureCode.CRASHED,
        source=FailureSource.BOOTSTRAP_WATCHER,
        message=error,
        log_tail=log_tail,
    )
    return _fail(workspace_id, launch_id or workspace.launch_id, reason, now=now)


def _fail(workspace_id: UUID, launch_id: UUID, reason: FailureReason, *, now: datetime) -> bool:
    try:
        fail(workspace_id=workspace_id, launch_id=launch_id, reason=reason, now=now)
    except TransitionRefused:
        return False
    return True


def _columns(report: HeartbeatIn, *, workspace_id: UUID) -> dict[str, Any]:
    """Return the columns to update: only what the report says, texts masked and cut."""
    columns = {name: value for name, value in report if name != "workspace_id" and value is not None}
    columns["idle_since"] = _idle_since(report)
    texts = {name: text[:WINDOW_CHARACTERS] for name in ("sample_error", "current_task") if (text := columns.get(name))}
    metadata = report.runtime_metadata.model_dump() if report.runtime_metadata else {"capabilities": {}}
    if texts or metadata["capabilities"]:
        # All at once, since each masker reads the secrets.
        told = [*texts.values(), metadata["capabilities"]]
        *masked, metadata["capabilities"] = masker_of(workspace_id).mask_strings(told)
        columns |= {name: text.strip()[:MAX_TEXT_CHARACTERS] for name, text in zip(texts, masked, strict=True)}
    # A spend of 0 says nothing (wire contract).
    if not report.monthly_spend:
        columns.pop("monthly_spend", None)
    if report.runtime_metadata is not None:
        columns["runtime_metadata"] = Value(metadata, output_field=JSONField())
    return columns


def _idle_since(report: HeartbeatIn) -> Combinable | None:
    """Return the start of the idle time: the stored one, or now; null while the workspace has tasks.

    A report without `active_tasks` counts as one with the stored number.
    """
    if report.active_tasks:
        return None
    since = Coalesce(F("idle_since"), Now())
    if report.active_tasks == 0:
        return since
    return Case(When(active_tasks=0, then=since), default=None, output_field=DateTimeField())


def _degrade_or_recover(agent: Agent, report: HeartbeatIn) -> None:
    """Judge the stored heartbeat, since a report may leave out what an earlier one said."""
    is_online = agent.status == WorkspaceStatus.ONLINE
    has_symptoms = report.runtime_state == RuntimeState.WEDGED or (report.error_rate or 0) >= DEGRADED_FROM
    if is_online and not has_symptoms:
        return
    stored = Heartbeat.objects.get(pk=agent.workspace_id)
    is_wedged = stored.runtime_state == RuntimeState.WEDGED
    # The error rate doesn't count for an agent that manages its status itself.
    manages_status = stored.runtime_metadata.get("capabilities", {}).get("status_mgmt")
    rate = 0.0 if manages_status else stored.error_rate
    if is_online and (is_wedged or rate >= DEGRADED_FROM):
        symptom = {"runtime_state": RuntimeState.WEDGED.value} if is_wedged else {"error_rate": stored.error_rate}
        payload = {**symptom, "sample_error": stored.sample_error}
        liveness.degrade(workspace_id=agent.workspace_id, launch_id=agent.launch_id, payload=payload)
    elif not is_online and not is_wedged and rate < RECOVERED_BELOW:
        liveness.recover(workspace_id=agent.workspace_id, launch_id=agent.launch_id)
