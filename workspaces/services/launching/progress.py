"""Record a boot step: a new one moves the stall deadline, never past the hard limit; a repeated one moves nothing."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from workspaces.access.masking import mask
from workspaces.deadlines.policy import stored_deadline
from workspaces.lifecycle.transitions import Phase, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.transition import lock_workspace

MAX_STEP_CHARACTERS = 200
# Masking costs a hash a character of what looks like a token.
_LOOKED_AT_CHARACTERS = 2_000


@transaction.atomic
def record_progress(*, workspace_id: UUID, launch_id: UUID, step: str, now: datetime) -> tuple[Workspace, bool]:
    """Store the step of a booting workspace. Return it, and whether the step was new. Raises UnknownWorkspace."""
    workspace = lock_workspace(workspace_id)
    # An agent may report before the worker has stored that the backend started it.
    step = mask(step[:_LOOKED_AT_CHARACTERS], workspace_id=workspace_id)[:MAX_STEP_CHARACTERS]
    booting = workspace.status == WorkspaceStatus.PROVISIONING and workspace.phase != Phase.QUEUED
    if not booting or workspace.launch_id != launch_id or step == workspace.progress_step:
        return workspace, False
    workspace.progress_step, workspace.progress_at = step, now
    if workspace.phase_entered_at is not None:
        workspace.deadline_at = stored_deadline(
            workspace, phase=workspace.phase, entered_at=workspace.phase_entered_at, progress_at=now
        )
    workspace.save(update_fields=["progress_step", "progress_at", "deadline_at"])
    return workspace, True
