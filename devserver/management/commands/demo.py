import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from devserver.console import Console
from devserver.demo import setup
from devserver.demo.fleet import make_fleet
from devserver.demo.steps import TIME_TO_SIGN_IN_SECONDS, Demo
from devserver.up import DevServer


class Command(BaseCommand):
    help = (
        "Show a simulated fleet of 60 in every condition, in the browser, within five minutes: healthy slow boots "
        "survive, dead ones fail with their reason, a mass slowdown is held. Uses its own servers and data folder."
    )
    # The children run their own checks; `migrate` needs none.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        setup.add_options(parser)
        parser.add_argument("--seed", type=int, default=1, help="draw other boot times (default: %(default)s)")
        parser.add_argument(
            "--patience",
            type=float,
            default=TIME_TO_SIGN_IN_SECONDS,
            help="seconds before the fleet is launched (default: %(default)g)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(sys.stdout)
        demo = Demo(
            port=options["port"],
            speed=options["speed"],
            members=make_fleet(speed=options["speed"], seed=options["seed"]),
            sign_in_seconds=options["patience"],
            console=console,
        )
        # The workspaces end with the simulator, and the next demo deletes them.
        DevServer(port=options["port"], console=console, steps=demo.steps(), stops_workspaces=False).run()
