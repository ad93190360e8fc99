"""`manage.py resume`: launch paused workspaces again."""

from typing import Any
from uuid import UUID

from workspaces import operations
from workspaces.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Launch paused workspaces again, and below them what their pause took along."
    past = "resumed"
    examples = ("resume nightly",)

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        return operations.resume(workspace_id)
