import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from devserver.commandline import DEFAULT_PORT
from devserver.console import Console
from devserver.up import DevServer


class Command(BaseCommand):
    help = (
        "Run all of Slipway on this machine: web, workers, beat and relay, on embedded Postgres and Redis where "
        "DATABASE_URL and REDIS_URL are unset. The first run makes an account and a first workspace."
    )
    # The servers' own checks run with the migration.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the web port (default: %(default)s)")
        parser.add_argument(
            "--no-resume", action="store_true", help="leave the workspaces stopped that the last stop stopped"
        )
        parser.add_argument("--no-first-workspace", action="store_true", help="create none where there is none yet")

    def handle(self, *args: Any, **options: Any) -> None:
        DevServer(
            port=options["port"],
            resumes=not options["no_resume"],
            creates_first=not options["no_first_workspace"],
            console=Console(sys.stdout),
        ).run()
