"""Begin a new launch of an existing workspace, for restart, resume, wake and the restart policy."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workspaces.lifecycle.transitions import TeardownReason, Transition
from workspaces.models import Launch, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.guarded_rows import RowFailure, RowGuard
from workspaces.services.core.transition import StatusChange, check_source, transition, transition_each


def begin_launch(
    workspace: Workspace,
    *,
    rule: Transition,
    now: datetime,
    changes: Mapping[str, Any] | None = None,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Apply a transition into provisioning to a locked workspace, and schedule the teardown of its last launch.

    `changes` and `payload` are added to those of the transition. Raises TransitionRefused.
    """
    check_source(workspace, rule)
    transition(rule, [_relaunch_step(workspace, now=now, changes=changes, payload=payload)])
    launch_records.reset_heartbeats([workspace])


def begin_launches(
    workspaces: Sequence[Workspace], *, rule: Transition, now: datetime
) -> list[RowFailure[StatusChange]]:
    """Do the same for locked workspaces in one transition; return the steps of those that could not begin."""
    if not workspaces:
        return []
    guard = RowGuard[Workspace](what="A launch could not begin")
    steps = []
    for workspace in workspaces:
        with guard.handling(workspace):
            steps.append(_relaunch_step(workspace, now=now))
    refused = transition_each(rule, steps)
    Launch.objects.filter(pk__in=[failure.row.changes["launch_id"] for failure in refused]).delete()
    refused += [RowFailure(row=StatusChange(workspace=each.row), text=each.text) for each in guard.failures]
    refused_ids = {failure.row.workspace.pk for failure in refused}
    launch_records.reset_heartbeats([workspace for workspace in workspaces if workspace.pk not in refused_ids])
    return refused


def _relaunch_step(
    workspace: Workspace,
    *,
    now: datetime,
    changes: Mapping[str, Any] | None = None,
    payload: Mapping[str, Any] | None = None,
) -> StatusChange:
    launch_records.end_current_launches([workspace], reason=TeardownReason.RESTARTED, now=now)
    _, launch_fields = launch_records.new_launch(workspace, now=now)
    return StatusChange(
        workspace=workspace,
        # The restart policy counts from zero, unless `changes` says that it is the one that restarts.
        changes={**launch_fields, "url": "", "restart_attempts": 0, "crash_loop": {}, **(changes or {})},
        payload={**launch_records.provisioning_payload(workspace, launch_fields), **(payload or {})},
    )
