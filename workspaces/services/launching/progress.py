"""Record the boot steps that an agent reports."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from agent.texts import mend_line
from events.masking.masker import WINDOW_CHARACTERS
from workspaces.access.masking import masker_of
from workspaces.deadlines.policy import stored_deadline
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.transition import lock_workspace

MAX_STEP_CHARACTERS = 200
UNNAMED_STEP = "unnamed step"


@transaction.atomic
def record_progress(*, workspace_id: UUID, launch_id: UUID, step: str, now: datetime) -> tuple[Workspace, bool]:
    """Store the boot step of a launch. Return the workspace, and whether the step was new. Raises UnknownWorkspace.

    The step is mended, never refused: one without a name counts too. A new step moves the stall deadline, but never
    past the hard limit; a repeated one changes nothing.
    """
    named = mend_line(step[:WINDOW_CHARACTERS]) or UNNAMED_STEP
    # Before the lock, since a long step takes a while, and heartbeats wait for the row.
    step = masker_of(workspace_id).mask_start(named, most_characters=MAX_STEP_CHARACTERS)
    workspace = lock_workspace(workspace_id)
    # Not only in the booting phase: the agent may report before the worker has recorded that it was started.
    is_started = workspace.status == WorkspaceStatus.PROVISIONING and workspace.phase != Phase.QUEUED
    if not is_started or workspace.launch_id != launch_id or step == workspace.progress_step:
        return workspace, False
    workspace.progress_step, workspace.progress_at = step, now
    if workspace.phase_entered_at is not None:
        workspace.deadline_at = stored_deadline(
            workspace, phase=workspace.phase, entered_at=workspace.phase_entered_at, progress_at=now
        )
    workspace.save(update_fields=["progress_step", "progress_at", "deadline_at"])
    return workspace, True
