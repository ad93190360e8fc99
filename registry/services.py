"""What a report from a running workspace, or from its watcher, leads to."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, DateTimeField, F, JSONField, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from workspaces.access import agent_urls
from workspaces.access.authentication import Agent
from workspaces.access.masking import mask, mask_strings
from workspaces.lifecycle.transitions import (
    RUNNING,
    FailureCode,
    FailureSource,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import MAX_BUDGET_CENTS, Heartbeat, Workspace
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.launching import mark_online
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.stopping import hibernate
from workspaces.services.watching import liveness

logger = logging.getLogger(__name__)

# From the wire contract; between the two nothing changes, so that a rate on the edge doesn't flap.
DEGRADED_FROM = 0.5
RECOVERED_BELOW = 0.1
WEDGED = "wedged"
MAX_TEXT_CHARACTERS = 4000
# A secret is masked before a text is cut. Twice its longest is as much as can matter of a text that an agent sends.
_LOOKED_AT_CHARACTERS = 2 * 65_536

Clock = Callable[[], datetime]

_COMPLETED_BY_A_BEAT = find_transition(Verb.HEARTBEAT, WorkspaceStatus.ONLINE).sources | {WorkspaceStatus.FAILED}


@dataclass(frozen=True, kw_only=True)
class Beat:
    """What a heartbeat says; None is what it leaves unsaid. `monthly_spend` is in cents, 0 says nothing."""

    error_rate: float | None = None
    sample_error: str | None = None
    active_tasks: int | None = None
    uptime_seconds: int | None = None
    current_task: str | None = None
    monthly_spend: int | None = None
    runtime_state: str | None = None
    runtime_metadata: Mapping[str, Any] | None = None


def register(agent: Agent, *, url: str, agent_card: Mapping[str, Any], now: datetime) -> Workspace:
    """Bring the agent's workspace online. Raises TransitionRefused, or ForbiddenUrl where no agent may be there."""
    if not agent.backend.gives_address:
        agent_urls.check_agent_url(url)
    card = mask_strings(dict(agent_card), workspace_id=agent.workspace_id)
    return mark_online.mark_online(
        workspace_id=agent.workspace_id,
        launch_id=agent.launch_id,
        verb=Verb.REGISTER,
        registration=mark_online.Registration(url=url, agent_card=card),
        now=now,
    )


def heartbeat(agent: Agent, beat: Beat, *, clock: Clock) -> Mapping[str, Any]:
    """Store the beat, then make the move it calls for, if any. Return what was stored: masked, bounded.

    The usual beat is one narrow UPDATE and nothing else. A move lost between the two is made by the next beat.
    """
    stored = _columns(agent, beat)
    # Fenced on the row itself: a restart may have come since the token was looked up.
    present = Heartbeat.objects.filter(pk=agent.workspace_id, launch_id=agent.launch_id)
    # A task's first beat keeps its workspace from going to sleep: it is on disk before it is answered.
    begins_task = beat.active_tasks and not agent.snapshot.active_tasks
    (present if begins_task else present.committed_asynchronously()).update(last_heartbeat_at=Now(), **stored)
    if agent.status in _COMPLETED_BY_A_BEAT:
        _arrive(agent, now=clock())
    elif agent.status == WorkspaceStatus.HIBERNATING and beat.active_tasks:
        hibernate.undo_for_new_task(workspace_id=agent.workspace_id, launch_id=agent.launch_id)
    elif agent.status in RUNNING and (beat.error_rate is not None or beat.runtime_state is not None):
        _judge(agent, beat)
    return stored


def fail_by_agent(
    agent: Agent, *, code: FailureCode, error: str, missing: list[str], log_tail: str, clock: Clock
) -> bool:
    """Fail the agent's launch because it says that it can't go on. False where the workspace moved on."""
    reason = FailureReason(
        code=code,
        source=FailureSource.AGENT,
        message=error[:_LOOKED_AT_CHARACTERS],
        missing=missing,
        log_tail=log_tail[-_LOOKED_AT_CHARACTERS:],
    )
    return _fail(agent.workspace_id, agent.launch_id, reason, now=clock())


def fail_by_watcher(*, workspace_id: UUID, launch_id: UUID | None, error: str, log_tail: str, now: datetime) -> bool:
    """Fail a launch because its bootstrap was seen to fail; without an id the present one.

    False where the workspace moved on. Raises UnknownWorkspace.
    """
    workspace = Workspace.objects.filter(pk=workspace_id).first()
    if workspace is None:
        raise UnknownWorkspace(workspace_id)
    reason = FailureReason(
        code=FailureCode.CRASHED,
        source=FailureSource.BOOTSTRAP_WATCHER,
        message=error[:_LOOKED_AT_CHARACTERS],
        log_tail=log_tail[-_LOOKED_AT_CHARACTERS:],
    )
    return _fail(workspace_id, launch_id or workspace.launch_id, reason, now=now)


def _fail(workspace_id: UUID, launch_id: UUID, reason: FailureReason, *, now: datetime) -> bool:
    try:
        fail(workspace_id=workspace_id, launch_id=launch_id, reason=reason, now=now)
    except TransitionRefused:
        return False
    return True


def _columns(agent: Agent, beat: Beat) -> dict[str, Any]:
    """Return the columns of what the beat says, texts masked and bounded, the spend capped."""
    said = {name: value for name, value in vars(beat).items() if value is not None}
    said["idle_since"] = _idle_since(beat)
    for name in ("sample_error", "current_task"):
        if said.get(name):
            said[name] = mask(said[name][:_LOOKED_AT_CHARACTERS], workspace_id=agent.workspace_id)[:MAX_TEXT_CHARACTERS]
    if spend := said.pop("monthly_spend", 0):
        said["monthly_spend"] = min(spend, MAX_BUDGET_CENTS)
    if "runtime_metadata" in said:
        said["runtime_metadata"] = Value(dict(said["runtime_metadata"]), output_field=JSONField())
    return said


def _idle_since(beat: Beat) -> Combinable | None:
    """Return since when it has nothing to do: as before, or now; null while it is busy. Unsaid is what it said last."""
    if beat.active_tasks:
        return None
    since = Coalesce(F("idle_since"), Now())
    if beat.active_tasks == 0:
        return since
    return Case(When(active_tasks=0, then=since), default=None, output_field=DateTimeField())


def _arrive(agent: Agent, *, now: datetime) -> None:
    # Failed for good, or moved on since the token was looked up: the beat is stored, and moves nothing.
    with suppress(TransitionRefused):
        mark_online.mark_online(
            workspace_id=agent.workspace_id,
            launch_id=agent.launch_id,
            verb=Verb.HEARTBEAT,
            registration=None,
            now=now,
        )


def _judge(agent: Agent, beat: Beat) -> None:
    """Degrade or recover by what is stored: a beat may leave unsaid what an earlier one said."""
    if agent.status == WorkspaceStatus.ONLINE and not _sounds_sick(beat):
        return
    stored = Heartbeat.objects.get(pk=agent.workspace_id)
    rate = _judged_rate(stored)
    if agent.status == WorkspaceStatus.ONLINE and (stored.runtime_state == WEDGED or rate >= DEGRADED_FROM):
        liveness.degrade(workspace_id=agent.workspace_id, launch_id=agent.launch_id, payload=_symptoms(stored))
    elif agent.status == WorkspaceStatus.DEGRADED and stored.runtime_state != WEDGED and rate < RECOVERED_BELOW:
        liveness.recover(workspace_id=agent.workspace_id, launch_id=agent.launch_id)


def _sounds_sick(beat: Beat) -> bool:
    return beat.runtime_state == WEDGED or (beat.error_rate or 0) >= DEGRADED_FROM


def _judged_rate(stored: Heartbeat) -> float:
    """Return the error rate that counts: none of an agent that manages its status itself."""
    capabilities = stored.runtime_metadata.get("capabilities", {})
    return 0.0 if capabilities.get("status_mgmt") else stored.error_rate


def _symptoms(stored: Heartbeat) -> dict[str, Any]:
    if stored.runtime_state == WEDGED:
        return {"runtime_state": WEDGED, "sample_error": stored.sample_error}
    return {"error_rate": stored.error_rate, "sample_error": stored.sample_error}
