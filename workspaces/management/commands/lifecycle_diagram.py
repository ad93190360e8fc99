from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from workspaces.lifecycle.diagram import lifecycle_page


class Command(BaseCommand):
    help = "Write docs/lifecycle.md from the transition table; with --check, only say whether it is current."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the page is not current")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "lifecycle.md"
        page = lifecycle_page()
        current = path.exists() and path.read_text() == page
        if options["check"] and not current:
            raise CommandError("docs/lifecycle.md is not current: run `manage.py lifecycle_diagram`.")
        if not current:
            path.write_text(page)
        self.stdout.write(
            f"docs/lifecycle.md {'is current' if current else 'was written'}, {page.count(' --> ')} arrows."
        )
