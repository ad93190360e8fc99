"""What Slipway does when a workspace's agent, or a watcher, reports something."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from workspaces import operations
from workspaces.access import agent_urls, secrets
from workspaces.access.authentication import Agent
from workspaces.access.masking import WorkspaceMasker, masker_of
from workspaces.lifecycle.transitions import (
    RUNNING,
    FailureCode,
    FailureSource,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import Workspace
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.kinds import LAUNCHED_KINDS
from workspaces.services.core.degradation import StoredHeartbeat
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.launching import mark_online
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.stopping import hibernate
from workspaces.services.watching import liveness

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
        card = WorkspaceMasker(values, workspace_id=agent.workspace_id).mask_strings(dict(agent_card))
    registration = mark_online.Registration(url=url, agent_card=card)
    return _ignored_card(_bring_online(agent, verb=Verb.REGISTER, registration=registration, now=now), card)


def _bring_online(
    agent: Agent, *, verb: Verb, registration: mark_online.Registration | None, now: datetime
) -> Workspace:
    """Bring the agent's workspace online. Enforce its budget, which may have been reached while it was paused."""
    boot_log_bytes = None
    if agent.backend in LAUNCHED_KINDS and _may_be_booting(agent, now=now):
        # Before the transaction, since it asks the backend.
        key = LaunchKey(workspace_id=agent.workspace_id, launch_id=agent.launch_id)
        boot_log_bytes = guarded_calls.log_size(agent.backend, key)
    workspace = mark_online.mark_online(
        workspace_id=agent.workspace_id,
        launch_id=agent.launch_id,
        verb=verb,
        registration=registration,
        now=now,
        boot_log_bytes=boot_log_bytes,
    )
    if workspace.budget_limit is not None:
        operations.enforce_budget(agent.workspace_id)
    return workspace


def _may_be_booting(agent: Agent, *, now: datetime) -> bool:
    """Return whether the agent's launch may come online for the first time, as far as its status tells."""
    if agent.status != WorkspaceStatus.FAILED:
        return agent.status == WorkspaceStatus.PROVISIONING
    workspace = Workspace.objects.filter(pk=agent.workspace_id).first()
    return workspace is not None and mark_online.may_arrive_late(workspace, now=now)


def update_card(agent: Agent, agent_card: Mapping[str, Any]) -> Mapping[str, str]:
    """Replace the card of the agent's workspace. Return why it was ignored, if it was."""
    card = masker_of(agent.workspace_id).mask_strings(dict(agent_card))
    workspace = mark_online.replace_card(
        workspace_id=agent.workspace_id, launch_id=agent.launch_id, agent_card=card, now=agent.received_at
    )
    return _ignored_card(workspace, card)


def _ignored_card(workspace: Workspace, card: Mapping[str, Any] | None) -> Mapping[str, str]:
    if card is None or workspace.agent_card == card:
        return {}
    limit = mark_online.MOST_CARD_CHANGES_PER_HOUR
    return {"agent_card": f"it changed {limit} times within an hour; the earlier card stays until then"}


def follow_heartbeat(agent: Agent, stored: StoredHeartbeat, *, has_tasks: bool) -> None:
    """Change the status of a workspace if a heartbeat that was stored calls for that; most don't.

    If the process dies before the status changes, the next heartbeat changes it.
    """
    if agent.status in _BROUGHT_ONLINE:
        # If the launch has failed for good, or the workspace was changed meanwhile, the heartbeat is stored only.
        with suppress(TransitionRefused):
            _bring_online(agent, verb=Verb.HEARTBEAT, registration=None, now=agent.received_at)
    elif agent.status == WorkspaceStatus.HIBERNATING and has_tasks:
        hibernate.undo_for_new_task(workspace_id=agent.workspace_id, launch_id=agent.launch_id)
    elif agent.status in RUNNING and stored.error_rate is not None:
        _degrade_or_recover(agent, stored)


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


def _degrade_or_recover(agent: Agent, stored: StoredHeartbeat) -> None:
    if agent.status == WorkspaceStatus.ONLINE and stored.symptoms:
        liveness.degrade(workspace_id=agent.workspace_id, launch_id=agent.launch_id, payload=stored.symptoms)
    elif agent.status == WorkspaceStatus.DEGRADED and stored.is_well:
        liveness.recover(workspace_id=agent.workspace_id, launch_id=agent.launch_id)
