import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from devserver.commandline import DEFAULT_PORT
from devserver.console import Console
from devserver.up import DevServer, up_steps


class Command(BaseCommand):
    help = (
        "Run all of Slipway on this machine: web server, workers, beat, relay and delivery, with embedded Postgres and "
        "Redis if DATABASE_URL and REDIS_URL are unset. The first run creates an account and a first workspace."
    )
    # The children run their own checks; `migrate` needs none.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the web port (default: %(default)s)")
        parser.add_argument(
            "--no-resume", action="store_true", help="don't launch the workspaces again that the last stop paused"
        )
        parser.add_argument("--no-first-workspace", action="store_true", help="don't create a first workspace")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(sys.stdout)
        steps = up_steps(
            port=options["port"],
            console=console,
            resumes=not options["no_resume"],
            creates_first=not options["no_first_workspace"],
        )
        DevServer(port=options["port"], console=console, steps=steps).run()
