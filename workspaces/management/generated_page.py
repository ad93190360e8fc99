"""A command that writes a page of docs from the code, or checks that the page is current."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class GeneratedPageCommand(BaseCommand):
    """Writes one page. With --check it changes nothing and exits with 1 if the page is not current."""

    requires_system_checks = []

    # Below the project's root.
    path: ClassVar[str]
    # Returns the page's text.
    render: Callable[[], str]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the page is not current")

    def handle(self, *args: Any, **options: Any) -> None:
        file, page = settings.BASE_DIR / self.path, self.render()
        if file.exists() and file.read_text() == page:
            self.stdout.write(f"1 page is current: {self.path}.")
            return
        if options["check"]:
            command = type(self).__module__.rpartition(".")[-1]
            raise CommandError(f"{self.path} is not current. Run `manage.py {command}`.")
        file.write_text(page)
        self.stdout.write(f"1 page was written: {self.path}.")
