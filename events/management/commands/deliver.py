"""`manage.py deliver`: send events to their channels, for as long as it runs or once."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.delivery.deliverer import Deliverer, deliver_all_due
from postgres.time_limits import ProcessRole, set_process_role


class Command(BaseCommand):
    help = "Send queued events to their channels. Any number may run at once; one serves a channel at a time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="deliver what is due, print how many, and exit")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            delivered = deliver_all_due()
        else:
            set_process_role(ProcessRole.WORKER)
            deliverer = Deliverer()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: deliverer.stop())
            deliverer.run()
            delivered = deliverer.delivered
        self.stdout.write(f"Delivered {delivered} events.")
