"""Restart a workspace: a new launch, which begins when the last one is confirmed stopped."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import Phase, TeardownReason, Verb, WorkspaceStatus, find_transition
from workspaces.models import Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.transition import StatusChange, TransitionRefused, check_source, transition
from workspaces.services.core.trees import check_no_paused_ancestor, lock_in_tree
from workspaces.services.launching.configuration_changes import last_configurations
from workspaces.services.launching.relaunch import begin_launch

RESTART = find_transition(Verb.RESTART, WorkspaceStatus.PROVISIONING)
RESTART_EXTERNAL = find_transition(Verb.RESTART, WorkspaceStatus.AWAITING_AGENT)


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """A restarted workspace. `token` is the new credential of an external one, shown once."""

    workspace: Workspace
    token: str = ""


@transaction.atomic
def restart(*, workspace_id: UUID, now: datetime, previous_configuration: bool = False) -> Restarted:
    """Begin a new launch, which the caller enqueues on commit. An external workspace awaits its agent again.

    It runs with the workspace's configuration as it is now, or as it was when it last came online
    (`previous_configuration`); later launches keep that until the next plain restart. Raises UnknownWorkspace or
    TransitionRefused.
    """
    workspace = lock_in_tree(workspace_id)
    rule = RESTART_EXTERNAL if workspace.is_external else RESTART
    check_source(workspace, rule)
    check_no_paused_ancestor(workspace)
    if not workspace.is_external:
        kept = None
        if previous_configuration:
            kept = last_configurations([workspace]).get(workspace.pk)
            if kept is None:
                raise TransitionRefused(workspace, "it has no launch that came online whose configuration is known.")
        begin_launch(workspace, rule=rule, now=now, changes={"kept_configuration_id": kept and kept.digest})
        return Restarted(workspace=workspace)
    launch_records.end_current_launches([workspace], reason=TeardownReason.RESTARTED, now=now)
    launch, _ = launch_records.new_launch(workspace, now=now)
    changes = {"launch_id": launch.pk, "url": "", "phase": Phase.NONE}
    transition(rule, [StatusChange(workspace=workspace, changes=changes, payload={"name": workspace.name})])
    launch_records.reset_heartbeats([workspace])
    return Restarted(workspace=workspace, token=mint_agent_token(workspace))
