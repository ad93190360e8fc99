"""Begin a new launch of a workspace that was there before: what restart, resume, wake and its policy share."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workspaces.lifecycle.transitions import TeardownReason, Transition
from workspaces.models import Launch, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.transition import StatusChange, check_source, transition, transition_each


def begin_launch(
    workspace: Workspace,
    *,
    row: Transition,
    now: datetime,
    changes: Mapping[str, Any] | None = None,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Move a locked workspace along `row` into provisioning under a new launch, its predecessor meant to stop."""
    check_source(workspace, row)
    transition(row, [_step(workspace, now=now, changes=changes, payload=payload)])
    launch_records.reset_heartbeats([workspace])


def begin_launches(workspaces: Sequence[Workspace], *, row: Transition, now: datetime) -> list[StatusChange]:
    """Do the same for a locked set, in one move; return those that the database refused."""
    left = transition_each(row, [_step(workspace, now=now) for workspace in workspaces]) if workspaces else []
    refused = {step.workspace.pk for step in left}
    Launch.objects.filter(pk__in=[step.changes["launch_id"] for step in left]).delete()
    launch_records.reset_heartbeats([workspace for workspace in workspaces if workspace.pk not in refused])
    return left


def _step(
    workspace: Workspace,
    *,
    now: datetime,
    changes: Mapping[str, Any] | None = None,
    payload: Mapping[str, Any] | None = None,
) -> StatusChange:
    launch_records.end_current_launches([workspace], reason=TeardownReason.RESTARTED, now=now)
    _, begun = launch_records.new_launch(workspace, now=now)
    told = launch_records.provisioning_payload(workspace, begun)
    # Its policy counts anew, unless it is the policy that asks.
    anew = {"url": "", "restart_attempts": 0}
    return StatusChange(
        workspace=workspace, changes={**begun, **anew, **(changes or {})}, payload={**told, **(payload or {})}
    )
