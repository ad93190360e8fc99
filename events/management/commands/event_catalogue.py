from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.catalogue_pages import asyncapi_page, reference_page


class Command(BaseCommand):
    help = "Write docs/reference/events.md and asyncapi.yaml from the catalogue; with --check, only compare."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is not current")

    def handle(self, *args: Any, **options: Any) -> None:
        pages = {"docs/reference/events.md": reference_page(), "docs/reference/asyncapi.yaml": asyncapi_page()}
        files = {name: settings.BASE_DIR / name for name in pages}
        stale = [name for name, file in files.items() if not file.exists() or file.read_text() != pages[name]]
        if stale and options["check"]:
            raise CommandError(f"Not current: {' and '.join(stale)}. Run `manage.py event_catalogue`.")
        for name in stale:
            files[name].write_text(pages[name])
        if stale:
            self.stdout.write(f"{len(stale)} of {len(pages)} pages were written: {' and '.join(stale)}.")
        else:
            self.stdout.write(f"{len(pages)} pages are current: {' and '.join(pages)}.")
