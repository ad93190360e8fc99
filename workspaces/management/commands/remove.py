"""`manage.py remove`: remove workspaces for good."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from workspaces import operations
from workspaces.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Remove workspaces for good: process, files, secrets and tokens go; events and launches stay on record."
    past = "removed"
    examples = ("remove nightly", "remove --confirm team")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--confirm", action="store_true", help="with all below them, where there is something")

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        return operations.remove(workspace_id, confirmed=options["confirm"])
