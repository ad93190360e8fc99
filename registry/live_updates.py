"""What running workspaces report, told on to those who look at present: best effort, and never stored."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from events import ephemeral
from events.ephemeral import EphemeralEvent
from events.names import EphemeralEventType
from workspaces.access.authentication import Agent
from workspaces.deadlines.policy import current_policy, effective_deadline
from workspaces.models import Workspace
from workspaces.services.core.lineage import ancestors_by_parent, event_subjects


def publish_heartbeat(agent: Agent, *, stored: Mapping[str, Any]) -> None:
    """Tell of a heartbeat, and of its task where that is another one than before."""
    told = agent.snapshot
    ancestors = ancestors_by_parent([told.parent_id])[told.parent_id]
    subject = {"name": told.name, "runtime": told.runtime, "ancestors": ancestors}
    task = stored.get("current_task", told.current_task)
    active_tasks = stored.get("active_tasks", told.active_tasks)
    alive = {"active_tasks": active_tasks, "uptime_seconds": stored.get("uptime_seconds")}
    events = [_event(EphemeralEventType.WORKSPACE_HEARTBEAT, agent.workspace_id, told.version, alive, subject)]
    if (task, active_tasks) != (told.current_task, told.active_tasks):
        working = {"current_task": task, "active_tasks": active_tasks}
        events.append(_event(EphemeralEventType.TASK_UPDATED, agent.workspace_id, told.version, working, subject))
    ephemeral.publish(*events)


def publish_progress(workspace: Workspace) -> None:
    """Tell of a new boot step."""
    deadline_at = effective_deadline(workspace, policy=current_policy())
    step = {
        "phase": workspace.phase,
        "step": workspace.progress_step,
        "deadline_at": deadline_at.isoformat() if deadline_at else None,
    }
    (subject,) = event_subjects([workspace])
    ephemeral.publish(_event(EphemeralEventType.WORKSPACE_PROGRESS, workspace.pk, workspace.version, step, subject))


def _event(
    name: EphemeralEventType, workspace_id: UUID, version: int, payload: Mapping[str, Any], subject: Mapping[str, Any]
) -> EphemeralEvent:
    return EphemeralEvent(event_type=name, workspace_id=workspace_id, version=version, payload=payload, subject=subject)
