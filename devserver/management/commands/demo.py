import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from devserver.console import Console
from devserver.demo import setup
from devserver.demo.steps import TIME_TO_SIGN_IN_SECONDS, Demo


class Command(BaseCommand):
    help = (
        "Show a simulated fleet of 60 in every condition, in the browser, within five minutes: healthy slow boots "
        "survive, the dead are failed with their reason, a mass slowdown is held. Has its own servers and data folder."
    )
    # The servers' own checks run with the migration.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        setup.add_options(parser)
        parser.add_argument("--seed", type=int, default=1, help="another one draws other boots (default: %(default)s)")
        parser.add_argument(
            "--patience",
            type=float,
            default=TIME_TO_SIGN_IN_SECONDS,
            help="seconds before the fleet is launched (default: %(default)g)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        Demo(
            port=options["port"],
            speed=options["speed"],
            seed=options["seed"],
            patience_seconds=options["patience"],
            console=Console(sys.stdout),
        ).run()
