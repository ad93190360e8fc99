"""`manage.py hibernate`: stop idle workspaces until something needs them."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from workspaces import operations
from workspaces.management.verb_command import VerbCommand


class Command(VerbCommand):
    help = "Stop workspaces that have nothing to do, until an operator or a request wakes them."
    past = "going into hibernation"
    examples = ("hibernate nightly", "hibernate --force nightly")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--force", action="store_true", help="though they have active tasks, which are lost")

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        return operations.hibernate(workspace_id, forced=options["force"])
