"""`manage.py verify_log`: compare the events with the rows."""

import uuid
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workspaces.log_verification import differences


class Command(BaseCommand):
    help = (
        "Replay each workspace's events of status changes and compare the result with its row. Exit 1 if they differ."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", nargs="?", type=workspace_id, metavar="WORKSPACE", help="an ID; default: all")

    def handle(self, *args: Any, **options: Any) -> None:
        requested = options["workspace"]
        replayed, found = differences(requested)
        if requested is not None and not replayed and not found:
            raise CommandError(f"There is no workspace {requested}, and no event of one.", returncode=2)
        for difference in found:
            self.stdout.write(str(difference))
        if found:
            raise CommandError(f"{len(found)} differences in {replayed} workspaces.", returncode=1)
        self.stdout.write(f"{replayed} workspaces replayed, no difference.")


def workspace_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a workspace ID") from None
