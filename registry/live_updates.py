"""Publishes what workspaces report to the live streams. Nothing of it is stored."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from events import ephemeral
from events.ephemeral import EphemeralEvent
from events.names import EphemeralEventType
from workspaces.access.authentication import Agent
from workspaces.deadlines.policy import current_policy, effective_deadline
from workspaces.models import Workspace
from workspaces.services.core.lineage import event_subjects


def publish_heartbeat(agent: Agent, columns: Mapping[str, Any], *, ancestors: Sequence[UUID]) -> None:
    """Publish a heartbeat, and its task if that changed.

    `columns` are those that the heartbeat updated, with masked texts, and `uptime_seconds`; `agent.snapshot` has the
    earlier values. Of the ancestors the parent comes first.
    """
    before = agent.snapshot
    about: dict[str, Any] = {
        "workspace_id": agent.workspace_id,
        "version": before.version,
        "subject": {"name": before.name, "runtime": before.runtime, "ancestors": [str(pk) for pk in ancestors]},
    }
    task = columns.get("current_task", before.current_task)
    active_tasks = columns.get("active_tasks", before.active_tasks)
    events = [
        EphemeralEvent(
            event_type=EphemeralEventType.WORKSPACE_HEARTBEAT,
            payload={"active_tasks": active_tasks, "uptime_seconds": columns["uptime_seconds"] or 0},
            **about,
        )
    ]
    if (task, active_tasks) != (before.current_task, before.active_tasks):
        payload = {"current_task": task, "active_tasks": active_tasks}
        events.append(EphemeralEvent(event_type=EphemeralEventType.TASK_UPDATED, payload=payload, **about))
    ephemeral.publish(*events)


def publish_progress(workspace: Workspace) -> None:
    """Publish a new boot step, or a new detail of it."""
    deadline_at = effective_deadline(workspace, policy=current_policy())
    (subject,) = event_subjects([workspace])
    ephemeral.publish(
        EphemeralEvent(
            event_type=EphemeralEventType.WORKSPACE_PROGRESS,
            workspace_id=workspace.pk,
            version=workspace.version,
            payload={
                "phase": workspace.phase,
                "step": workspace.progress_step,
                "detail": workspace.progress_detail,
                "deadline_at": deadline_at.isoformat() if deadline_at else None,
            },
            subject=subject,
        )
    )
