"""What the first `make up` creates: the operator's account, and a workspace whose launch the terminal shows."""

import secrets

from django.contrib.auth import get_user_model

from devserver.console import Console
from postgres.clock import database_now
from workspaces import tasks
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.launching import create

OPERATOR = "admin"
FIRST_TEMPLATE = "echo"


def create_operator() -> str | None:
    """Create the operator's account and return its password, which is stored nowhere; None if the account exists."""
    users = get_user_model()._default_manager
    if users.filter(**{users.model.USERNAME_FIELD: OPERATOR}).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(OPERATOR, "", password)
    return password


def create_workspace(request: create.CreateRequest) -> Workspace:
    """Create a workspace and hand its launch to the workers."""
    workspace = create.create(request, now=database_now()).workspace
    tasks.enqueue_launches(workspace.backend, now=database_now())
    return workspace


class FirstWorkspace:
    """A workspace from the catalog's simplest template, created only if the database has never had a workspace."""

    def __init__(self, *, console: Console) -> None:
        self.console = console
        self._workspace: Workspace | None = None
        self._last_line = ""

    def create(self) -> None:
        """Create the workspace, or say why there is none: the operator's own catalog may lack the template."""
        if Workspace.objects.exists():
            return
        try:
            self._workspace = create_workspace(create.CreateRequest(template=FIRST_TEMPLATE))
        except InvalidWorkspace as error:
            self.console.write(f"No first workspace was launched. {error}")
        else:
            self.console.write("Launching a first workspace:")

    def report(self) -> None:
        """Print how far the launch is, if that has changed since the last report."""
        if self._workspace is None:
            return
        self._workspace.refresh_from_db()
        progress = str(self._workspace.status)
        if self._workspace.status == WorkspaceStatus.PROVISIONING:
            progress = " · ".join(part for part in (self._workspace.phase, self._workspace.progress_step) if part)
        elif self._workspace.status == WorkspaceStatus.FAILED:
            progress = f"failed: {self._workspace.failure_message}"
        line = f"  {self._workspace.name}: {progress}"
        if line != self._last_line:
            self.console.write(line)
            self._last_line = line

    @property
    def has_booted(self) -> bool:
        """Return whether the last report was of a launch that had ended, or there is no launch to report."""
        return self._workspace is None or self._workspace.status != WorkspaceStatus.PROVISIONING
