"""`manage.py cancel`: fail launches that are on their way."""

from typing import Any
from uuid import UUID

from workspaces import operations
from workspaces.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Fail the launches of workspaces that are provisioning."
    past = "cancelled"
    examples = ("cancel nightly",)

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        return operations.cancel(workspace_id, by="manage.py")
