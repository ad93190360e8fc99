"""`manage.py deliver`: send events to their channels, for as long as it runs or once."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.delivery.deliverer import Deliverer, deliver_all_due


class Command(BaseCommand):
    help = "Send queued events to their channels. Any number may run at once; one serves a channel at a time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="deliver what is due, say how many, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        delivered = deliver_all_due() if options["once"] else _run()
        self.stdout.write(f"Delivered {delivered} events.")


def _run() -> int:
    deliverer = Deliverer()
    for stopping in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stopping, lambda *_: deliverer.stop())
    deliverer.run()
    return deliverer.delivered
