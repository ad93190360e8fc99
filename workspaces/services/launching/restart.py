"""Restart a workspace: a new launch; the predecessor's object is stopped and confirmed gone before it begins."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import (
    Phase,
    TeardownReason,
    Verb,
    WorkspaceStatus,
    find_transition,
)
from workspaces.models import Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.transition import StatusChange, check_source, transition
from workspaces.services.core.trees import lock_in_tree, refuse_under_paused
from workspaces.services.launching.relaunch import begin_launch

RESTART = find_transition(Verb.RESTART, WorkspaceStatus.PROVISIONING)
RESTART_EXTERNAL = find_transition(Verb.RESTART, WorkspaceStatus.AWAITING_AGENT)


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """A workspace under its new launch; `token` is an external one's new credential, shown once."""

    workspace: Workspace
    token: str = ""


@transaction.atomic
def restart(*, workspace_id: UUID, now: datetime) -> Restarted:
    """Begin a new launch. The caller enqueues it on commit. Raises UnknownWorkspace or TransitionRefused."""
    workspace = lock_in_tree(workspace_id)
    if workspace.is_external:
        return _restart_external(workspace, now=now)
    check_source(workspace, RESTART)
    refuse_under_paused(workspace)
    begin_launch(workspace, row=RESTART, now=now)
    return Restarted(workspace=workspace)


def _restart_external(workspace: Workspace, *, now: datetime) -> Restarted:
    check_source(workspace, RESTART_EXTERNAL)
    refuse_under_paused(workspace)
    launch_records.end_current_launches([workspace], reason=TeardownReason.RESTARTED, now=now)
    launch, _ = launch_records.new_launch(workspace, now=now)
    changes = {"launch_id": launch.pk, "url": "", "phase": Phase.NONE}
    transition(RESTART_EXTERNAL, [StatusChange(workspace=workspace, changes=changes, payload={"name": workspace.name})])
    launch_records.reset_heartbeats([workspace])
    return Restarted(workspace=workspace, token=mint_agent_token(workspace))
