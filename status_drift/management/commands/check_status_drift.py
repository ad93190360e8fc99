import json
from argparse import ArgumentParser
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from status_drift.apps import PARSER
from status_drift.findings import Report
from status_drift.live import live_enums, live_findings


class Command(BaseCommand):
    help = "Check that code, migrations and database agree on every status, and that none is written out as a string."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text", help="for people, or for scripts")
        parser.add_argument(
            "--live", action="store_true", help="compare with the connected database only; needs no parser"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = Report()
        if not options["live"]:
            if not find_spec(PARSER):
                raise CommandError(
                    f"{PARSER} is not installed, so the code can't be checked. Install requirements-dev.txt, or "
                    "compare only the database with --live."
                )
            report = import_module("status_drift.gate").static_report(settings.BASE_DIR)
        report.findings += live_findings(live_enums())
        self.stdout.write(json.dumps(report.as_dict()) if options["format"] == "json" else report.as_text())
        if report.errors:
            raise CommandError(f"{len(report.errors)} things drifted.", returncode=1)
