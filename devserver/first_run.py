"""What a first `make up` gives its operator: an account, and a workspace that boots before their eyes."""

import secrets
import time
from collections.abc import Iterator

from django.contrib.auth import get_user_model

from devserver.console import Console
from postgres.clock import database_now
from workspaces import tasks
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.launching import create

OPERATOR = "admin"
FIRST_TEMPLATE = "echo"
_PATIENCE_SECONDS = 120.0


def create_operator() -> str | None:
    """Create the operator's account and return its password, which is kept nowhere; None where there is one."""
    users = get_user_model()._default_manager
    if users.filter(**{users.model.USERNAME_FIELD: OPERATOR}).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(OPERATOR, "", password)
    return password


def create_first_workspace() -> Workspace | None:
    """Create a workspace of the catalog's simplest template; None where any was ever created."""
    if Workspace.objects.exists():
        return None
    workspace = create.create(create.CreateRequest(template=FIRST_TEMPLATE), now=database_now()).workspace
    tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    return workspace


def follow(workspace: Workspace, *, console: Console) -> Iterator[None]:
    """Print each step of a launch as it happens, until the workspace is online or failed; yields while it waits."""
    limit, last = time.monotonic() + _PATIENCE_SECONDS, ""
    while True:
        workspace.refresh_from_db()
        step = _describe(workspace)
        if step != last:
            console.say(f"  {workspace.name}: {step}")
            last = step
        if workspace.status != WorkspaceStatus.PROVISIONING:
            return
        if time.monotonic() > limit:
            console.say(f"  {workspace.name} goes on booting; the admin shows how far it is.")
            return
        yield


def _describe(workspace: Workspace) -> str:
    if workspace.status == WorkspaceStatus.PROVISIONING:
        return " · ".join(part for part in (workspace.phase, workspace.progress_step) if part)
    if workspace.status == WorkspaceStatus.FAILED:
        return f"failed: {workspace.failure_message}"
    return str(workspace.status)
