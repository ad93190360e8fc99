"""`manage.py restart`: begin a new launch."""

from typing import Any
from uuid import UUID

from workspaces import operations
from workspaces.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Begin a new launch: the present one is stopped and confirmed gone first. External ones get a new token."
    past = "restarted"
    examples = ("restart nightly reviewer",)

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        return operations.restart(workspace_id)
