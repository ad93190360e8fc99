"""What a workspace's process has printed."""

from uuid import UUID

from django.http import HttpRequest
from typing_extensions import TypedDict

from agent.texts import printable
from workspaces.access.masking import masker_of_log
from workspaces.api.edits import find
from workspaces.api.router import access, router
from workspaces.models import ApiScope, Workspace
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.base import LaunchKey


class ConsoleOut(TypedDict):
    """The end of a log."""

    output: str


@router.get("/{workspace_id}/console", auth=access("view", ApiScope.READ, own_agent=True))
def get_console(request: HttpRequest, workspace_id: UUID) -> ConsoleOut:
    """Show the end of a workspace's log: up to 8 KiB of plain text, secrets masked.

    It is the running process's log, or the one that its last failure kept; "" if there is none.
    """
    return {"output": printable(console_of(find(workspace_id)))}


def console_of(workspace: Workspace) -> str:
    """Return the end of the log of a workspace's launch, masked, with its colours."""
    if workspace.is_external:
        return ""
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    seen = guarded_calls.look(workspace.backend, key)
    if not seen.log_tail:
        return workspace.failure_log_tail
    return masker_of_log(workspace.pk).mask_log_tail(seen.log_tail)
