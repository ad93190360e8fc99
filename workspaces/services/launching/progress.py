"""Record the boot steps that an agent reports."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from agent.texts import mend_line
from events.masking.masker import WINDOW_CHARACTERS
from workspaces.access.masking import masker_of
from workspaces.deadlines.policy import stored_deadline
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.models.workspaces import MAX_STEP_CHARACTERS, MAX_STEP_DETAIL_CHARACTERS
from workspaces.services.core.transition import lock_workspace

UNNAMED_STEP = "unnamed step"


@transaction.atomic
def record_progress(
    *, workspace_id: UUID, launch_id: UUID, step: str, detail: str = "", now: datetime
) -> tuple[Workspace, bool]:
    """Store the boot step of a launch. Return the workspace, and whether anything was new. Raises UnknownWorkspace.

    The texts are mended, never refused: a step without a name counts too. A new step moves the stall deadline, but
    never past the hard limit; a repeated one changes its detail, if it has one, and nothing else.
    """
    named = mend_line(step[:WINDOW_CHARACTERS]) or UNNAMED_STEP
    # Before the lock, since a long step takes a while, and heartbeats wait for the row.
    masker = masker_of(workspace_id)
    step = masker.mask_start(named, most_characters=MAX_STEP_CHARACTERS)
    detail = masker.mask_start(mend_line(detail[:WINDOW_CHARACTERS]), most_characters=MAX_STEP_DETAIL_CHARACTERS)
    workspace = lock_workspace(workspace_id)
    # Not only in the booting phase: the agent may report before the worker has recorded that it was started.
    is_started = workspace.status == WorkspaceStatus.PROVISIONING and workspace.phase != Phase.QUEUED
    is_new_step = step != workspace.progress_step
    is_new = is_new_step or detail not in ("", workspace.progress_detail)
    if not is_started or workspace.launch_id != launch_id or not is_new:
        return workspace, False
    workspace.progress_step, workspace.progress_detail = step, detail
    if is_new_step:
        workspace.progress_at = now
        if workspace.phase_entered_at is not None:
            workspace.deadline_at = stored_deadline(
                workspace, phase=workspace.phase, entered_at=workspace.phase_entered_at, progress_at=now
            )
    workspace.save(update_fields=["progress_step", "progress_detail", "progress_at", "deadline_at"])
    # For the history: the workspace's own are cleared by its next launch.
    Launch.objects.filter(pk=launch_id).update(
        last_step=step, last_step_detail=detail, last_step_at=workspace.progress_at
    )
    return workspace, True
