"""Restart a workspace: a new launch; the predecessor's object is stopped and confirmed gone before it begins."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.credentials import mint_agent_token
from workspaces.lifecycle import Phase, TeardownReason, Verb, WorkspaceStatus, transition
from workspaces.models import Workspace
from workspaces.services import launches
from workspaces.services.moving import Step, check_source, lock_one, move


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """A workspace under its new launch; `token` is an external one's new credential, shown once."""

    workspace: Workspace
    token: str = ""


@transaction.atomic
def restart(*, workspace_id: UUID, now: datetime) -> Restarted:
    """Begin a new launch. The caller enqueues it on commit. Raises UnknownWorkspace or TransitionRefused."""
    workspace = lock_one(workspace_id)
    if workspace.is_external:
        return _restart_external(workspace, now=now)
    begin_launch(workspace, verb=Verb.RESTART, reason=TeardownReason.RESTARTED, now=now)
    return Restarted(workspace=workspace)


def begin_launch(workspace: Workspace, *, verb: Verb, reason: TeardownReason, now: datetime) -> None:
    """Move a locked workspace into provisioning under a new launch."""
    row = transition(verb, WorkspaceStatus.PROVISIONING)
    check_source(workspace, row)
    launches.end_present([workspace], reason=reason, now=now)
    _, begun = launches.new_launch(workspace, now=now)
    payload = launches.provisioning_payload(workspace, begun)
    move(row, [Step(workspace=workspace, changes={**begun, "url": ""}, payload=payload)])


def _restart_external(workspace: Workspace, *, now: datetime) -> Restarted:
    row = transition(Verb.RESTART, WorkspaceStatus.AWAITING_AGENT)
    check_source(workspace, row)
    launches.end_present([workspace], reason=TeardownReason.RESTARTED, now=now)
    launch, _ = launches.new_launch(workspace, now=now)
    changes = {"launch_id": launch.pk, "url": "", "phase": Phase.NONE}
    move(row, [Step(workspace=workspace, changes=changes, payload={"name": workspace.name})])
    return Restarted(workspace=workspace, token=mint_agent_token(launch))
