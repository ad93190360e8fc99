"""`manage.py sweep_stuck`: the sweep that beat does every 30 seconds, by hand."""

import argparse
import json
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from workspaces import tasks
from workspaces.clock import database_now
from workspaces.deadlines import Policy, effective_deadline, present_policy
from workspaces.models import Workspace
from workspaces.overview import printable, spoken_time_left
from workspaces.services import sweeping

EPILOG = """examples:
  manage.py sweep_stuck --dry-run
  manage.py sweep_stuck --format json
"""


class Command(BaseCommand):
    help = "Fail every workspace that is provisioning beyond its deadline, with the reason. Safe to run at any time."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="list who would be failed and why; change nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        now, policy = database_now(), present_policy()
        sweep = _would_fail if options["dry_run"] else _fail
        stuck, set_aside = sweep(now=now, policy=policy)
        if options["format"] == "json":
            facts = {"dry_run": options["dry_run"], "failed": stuck, "set_aside": set_aside}
            self.stdout.write(json.dumps(facts, indent=2))
            return
        for row in stuck:
            self.stdout.write(printable(f"{row['name']} ({row['id']}): {row['code']}: {row['error']}"))
        self.stdout.write(_sentence(stuck, set_aside, is_dry_run=options["dry_run"], now=now, policy=policy))


Rows = list[dict[str, str]]


def _fail(*, now: datetime, policy: Policy) -> tuple[Rows, Rows]:
    report = sweeping.sweep_stuck(now=now, policy=policy)
    tasks.enqueue_due_teardowns(now=now)
    failed = [_row(row, code=row.failure_code, error=row.failure_message) for row in report.failed]
    return failed, [{"id": str(row.pk), "name": row.name} for row in report.set_aside]


def _would_fail(*, now: datetime, policy: Policy) -> tuple[Rows, Rows]:
    overdue = sweeping.overdue(now=now, policy=policy)
    return [_row(row, code=reason.code, error=reason.message) for row, reason in overdue], []


def _row(workspace: Workspace, *, code: str, error: str) -> dict[str, str]:
    return {"id": str(workspace.pk), "name": workspace.name, "code": str(code), "error": error}


def _sentence(stuck: Rows, set_aside: Rows, *, is_dry_run: bool, now: datetime, policy: Policy) -> str:
    noun = "workspace" if len(stuck) == 1 else "workspaces"
    if not stuck and not set_aside:
        return _nothing_stuck(now=now, policy=policy)
    if is_dry_run:
        return f"Would fail {len(stuck)} stuck {noun}; nothing was changed."
    aside = f" {len(set_aside)} could not be written and are tried again; the log says why." if set_aside else ""
    return f"Failed {len(stuck)} stuck {noun}.{aside}"


def _nothing_stuck(*, now: datetime, policy: Policy) -> str:
    waiting = Workspace.objects.provisioning().order_by("phase_entered_at" if policy.override else "deadline_at", "pk")
    nearest = waiting.first()
    deadline = effective_deadline(nearest, policy=policy) if nearest else None
    if nearest is None or deadline is None:
        return "0 workspaces are stuck, and 0 are provisioning."
    left = spoken_time_left(round((deadline - now).total_seconds()))
    at = deadline.strftime("%H:%M:%S UTC")
    next_one = printable(f"the next deadline is {nearest.name}'s, {left} ({at})")
    return f"0 workspaces are stuck; {waiting.count()} are provisioning, {next_one}."
