"""`manage.py relay`: number committed events, for as long as it runs or once."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.relay import Relay, number_all


class Command(BaseCommand):
    help = "Give committed events their position in the log, as they are committed. Any number may run at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="number what is there, say how many, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        numbered = number_all() if options["once"] else _run()
        self.stdout.write(f"Numbered {numbered} events.")


def _run() -> int:
    relay = Relay()
    for stopping in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stopping, lambda *_: relay.stop())
    relay.run()
    return relay.numbered
