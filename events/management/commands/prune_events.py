"""`manage.py prune_events --older-than 90d`: delete old events."""

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events.retention import prune
from postgres.clock import database_now

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class Command(BaseCommand):
    help = (
        "Delete events older than an age, with their deliveries. Events that a channel still has to deliver are kept. "
        "Positions are not used again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", type=parse_age, required=True, metavar="90d", help="an age: 36h, 90d, 12w")
        parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        pruned = prune(before=database_now() - options["older_than"], dry_run=options["dry_run"])
        done = "would be deleted" if options["dry_run"] else "deleted"
        self.stdout.write(f"{pruned.deleted} events {done}, {pruned.kept} old ones kept.")


def parse_age(text: str) -> timedelta:
    """Return the duration of a text such as `90d`, `36h` or `12w`. Raises ArgumentTypeError."""
    match = re.fullmatch(r"([1-9]\d{0,5})([hdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not an age: give a whole number and h, d or w, such as 90d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
