"""`manage.py sweep_stuck`: the sweep that beat does every 30 seconds, by hand."""

import argparse
import json
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from postgres.clock import database_now
from workspaces import tasks
from workspaces.deadlines.policy import Policy, current_policy, effective_deadline
from workspaces.models import SweepRun, Workspace
from workspaces.models.incidents import Component
from workspaces.overview import format_duration, format_time_left, printable
from workspaces.services.watching import outages, sweep

NEXT_SHOWN = 10
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
        now, policy = database_now(), current_policy()
        facts = _would_fail(now=now, policy=policy) if options["dry_run"] else _fail(now=now, policy=policy)
        if options["format"] == "json":
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], **facts}, indent=2))
            return
        for row in facts["failed"]:
            self.stdout.write(printable(f"{row['name']} ({row['id']}): {row['code']}: {row['error']}"))
        for row in facts.get("next", []):
            self.stdout.write(printable(f"Next: {row['name']} ({row['id']}), {row['left']} ({row['deadline_at']})"))
        if run := facts.get("run"):
            self.stdout.write(_record(run))
        self.stdout.write(_sentence(facts, is_dry_run=options["dry_run"], now=now, policy=policy))


Facts = dict[str, Any]


def _fail(*, now: datetime, policy: Policy) -> Facts:
    outages.record_liveness(part=Component.SWEEP, now=now)
    report = sweep.sweep_stuck(now=now, policy=policy)
    tasks.enqueue_due_teardowns(now=now)
    failed = [_row(row, code=row.failure_code, error=row.failure_message) for row in report.failed]
    set_aside = [{"id": str(row.pk), "name": row.name} for row in report.set_aside]
    return {"failed": failed, "set_aside": set_aside, "run": _as_facts(sweep.last_sweep_run())}


def _would_fail(*, now: datetime, policy: Policy) -> Facts:
    overdue = sweep.preview_sweep(now=now, policy=policy)
    failed = [_row(row, code=reason.code, error=reason.message) for row, reason in overdue]
    coming = sweep.next_deadlines(now=now, policy=policy)[:NEXT_SHOWN]
    return {"failed": failed, "set_aside": [], "next": [_next(row, now=now, policy=policy) for row in coming]}


def _row(workspace: Workspace, *, code: str, error: str) -> dict[str, str]:
    return {"id": str(workspace.pk), "name": workspace.name, "code": str(code), "error": error}


def _next(workspace: Workspace, *, now: datetime, policy: Policy) -> dict[str, str]:
    deadline = effective_deadline(workspace, policy=policy) or now
    left = format_time_left(round((deadline - now).total_seconds()))
    return {
        "id": str(workspace.pk),
        "name": workspace.name,
        "phase": str(workspace.phase),
        "deadline_at": deadline.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "left": left,
    }


def _as_facts(run: SweepRun | None) -> Facts:
    names = ("duration_seconds", "lag_seconds", "looked_at", "flips", "held", "postponed", "set_aside")
    return {name: round(getattr(run, name), 3) for name in names} if run else {}


def _record(run: Facts) -> str:
    lag = format_duration(run["lag_seconds"])
    lateness = f"; the earliest deadline passed {lag} before" if run["looked_at"] else ""
    return (
        f"Looked at {run['looked_at']} in {run['duration_seconds']:.2f} s: {run['flips']} failed, {run['held']} held, "
        f"{run['postponed']} await their turn{lateness}."
    )


def _sentence(facts: Facts, *, is_dry_run: bool, now: datetime, policy: Policy) -> str:
    stuck, set_aside = facts["failed"], facts["set_aside"]
    noun = "workspace" if len(stuck) == 1 else "workspaces"
    if not stuck and not set_aside:
        return _nothing_stuck(now=now, policy=policy)
    if is_dry_run:
        return f"Would fail {len(stuck)} stuck {noun}; nothing was changed."
    aside = f" {len(set_aside)} could not be written and are tried again; the log says why." if set_aside else ""
    return f"Failed {len(stuck)} stuck {noun}.{aside}"


def _nothing_stuck(*, now: datetime, policy: Policy) -> str:
    nearest = sweep.next_deadlines(now=now, policy=policy).first()
    deadline = effective_deadline(nearest, policy=policy) if nearest else None
    if nearest is None or deadline is None:
        return "0 workspaces are stuck, and 0 are provisioning."
    left = format_time_left(round((deadline - now).total_seconds()))
    at = deadline.strftime("%H:%M:%S UTC")
    next_one = printable(f"the next deadline is {nearest.name}'s, {left} ({at})")
    return f"0 workspaces are stuck; {Workspace.objects.provisioning().count()} are provisioning, {next_one}."
