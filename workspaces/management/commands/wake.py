"""`manage.py wake`: launch hibernated workspaces again."""

from typing import Any
from uuid import UUID

from workspaces import operations
from workspaces.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Launch hibernated workspaces again, with the data they had."
    past = "woken"
    examples = ("wake nightly",)

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        return operations.wake(workspace_id)
