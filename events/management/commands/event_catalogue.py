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
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        pages = {
            settings.BASE_DIR / "docs/reference/events.md": reference_page(),
            settings.BASE_DIR / "docs/reference/asyncapi.yaml": asyncapi_page(),
        }
        stale = [path for path, page in pages.items() if not path.exists() or path.read_text() != page]
        if stale and options["check"]:
            names = " and ".join(str(path.relative_to(settings.BASE_DIR)) for path in stale)
            raise CommandError(f"{names} not current: run `manage.py event_catalogue`.")
        for path in stale:
            path.write_text(pages[path])
        self.stdout.write(f"{len(CATALOGUE)} events; {len(stale)} of {len(pages)} pages written.")
