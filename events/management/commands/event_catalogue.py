from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.catalogue import CATALOGUE
from events.catalogue_pages import asyncapi_page, reference_page


class Command(BaseCommand):
    help = "Write docs/reference/events.md and asyncapi.yaml from the catalogue; with --check, only compare."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is not current")

    def handle(self, *args: Any, **options: Any) -> None:
        pages = {"docs/reference/events.md": reference_page(), "docs/reference/asyncapi.yaml": asyncapi_page()}
        stale = [name for name, page in pages.items() if not _holds(name, page)]
        if stale and options["check"]:
            raise CommandError(f"{' and '.join(stale)} not current: run `manage.py event_catalogue`.")
        for name in stale:
            (settings.BASE_DIR / name).write_text(pages[name])
        self.stdout.write(f"{len(CATALOGUE)} events; {len(stale)} of {len(pages)} pages written.")


def _holds(name: str, page: str) -> bool:
    path = settings.BASE_DIR / name
    return path.exists() and path.read_text() == page
