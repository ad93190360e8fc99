"""`manage.py pause`: stop workspaces until somebody resumes them."""

from typing import Any
from uuid import UUID

from workspaces import operations
from workspaces.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Stop workspaces and all below them until somebody resumes them. Their data stays."
    past = "paused"
    examples = ("pause nightly", "pause 6f1c8e0a-0000-4000-8000-000000000000 reviewer")

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        return operations.pause(workspace_id)
