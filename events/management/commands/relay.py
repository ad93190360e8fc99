"""`manage.py relay`: number committed events, until it is stopped or once."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.relay import Relay, number_all
from postgres.time_limits import ProcessRole, set_process_role


class Command(BaseCommand):
    help = "Give committed events their position in the log, as they are committed. Any number may run at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="number the events that have no position yet, and exit")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            numbered = number_all()
        else:
            set_process_role(ProcessRole.WORKER)
            relay = Relay()
            for stop_signal in (signal.SIGTERM, signal.SIGINT):
                signal.signal(stop_signal, lambda *_: relay.stop())
            relay.run()
            numbered = relay.numbered
        self.stdout.write(f"Numbered {numbered} events.")
