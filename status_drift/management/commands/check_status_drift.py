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
    help = "Check that code, migrations and database agree on every status, and that nobody writes one out by hand."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["text", "json"], default="text", help="for people, or for scripts")
        parser.add_argument(
            "--live", action="store_true", help="compare with the connected database only; needs no parser"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = Report() if options["live"] else _static()
        report.findings += live_findings(live_enums())
        self.stdout.write(json.dumps(report.as_facts()) if options["format"] == "json" else _text(report))
        if report.errors:
            raise CommandError(f"{len(report.errors)} things drifted.", returncode=1)


def _static() -> Report:
    if not find_spec(PARSER):
        raise CommandError(
            f"The code can't be judged without {PARSER}, which requirements-dev.txt installs: "
            "run this where Slipway is developed, or compare the database alone with --live."
        )
    report: Report = import_module("status_drift.gate").static_report(settings.BASE_DIR)
    return report


def _text(report: Report) -> str:
    lines = [f"{finding.severity}: {finding}" for finding in report.findings]
    lines += [f"silenced: {one.path}:{one.line}: {one.reason}" for one in report.silenced]
    looked_at = (
        f"{report.files} files, {report.statements} SQL statements, {report.mentions} mentions of a status"
        if report.files
        else "the connected database only"
    )
    lines.append(
        f"{len(report.errors)} errors, {len(report.warnings)} warnings, {len(report.silenced)} silenced; "
        f"looked at {looked_at}."
    )
    return "\n".join(lines)
