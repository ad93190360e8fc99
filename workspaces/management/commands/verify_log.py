import uuid
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workspaces.lifecycle.log_verification import differences


class Command(BaseCommand):
    help = "Replay the move events, from the oldest kept, against the rows; exit 1 where log and row differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", nargs="?", type=_id, metavar="WORKSPACE", help="its id; without it, all")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace_id = options["workspace"]
        replayed, found = differences(workspace_id)
        if workspace_id is not None and not replayed and not found:
            raise CommandError(f"There is no workspace {workspace_id}, and the log tells of none.", returncode=2)
        for difference in found:
            self.stdout.write(str(difference))
        if found:
            raise CommandError(f"{len(found)} differences in {replayed} workspaces.", returncode=1)
        self.stdout.write(f"{replayed} workspaces replayed, no difference.")


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no workspace's id") from None
