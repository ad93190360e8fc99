"""`manage.py sweep_stuck`: run the sweep once. Beat runs it every 30 seconds."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from agent.texts import printable
from postgres.clock import database_now
from workspaces import tasks
from workspaces.deadlines.policy import Policy, current_policy, effective_deadline
from workspaces.management.examples import CommandWithExamples
from workspaces.models import Workspace
from workspaces.models.incidents import Component
from workspaces.overview import format_duration, format_time_left
from workspaces.services.core.guarded_rows import RowFailure
from workspaces.services.watching import outages, sweep
from workspaces.services.watching.evidence import launches_not_looked_at

NEXT_SHOWN = 10
EPILOG = """examples:
  manage.py sweep_stuck --dry-run
  manage.py sweep_stuck --format json

exit codes: 0 all were swept, 1 some could not be swept or looked at (the others are done)
"""


class Command(CommandWithExamples):
    help = "Fail each workspace that is provisioning past its deadline, with the reason. Safe to run at any time."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="list what would be failed and why; change nothing")
        parser.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        now, policy, is_dry_run = database_now(), current_policy(), options["dry_run"]
        report = preview(now=now, policy=policy) if is_dry_run else run_sweep(now=now, policy=policy)
        if options["format"] == "json":
            self.stdout.write(json.dumps({"dry_run": is_dry_run, **report}, indent=2))
        else:
            self.print_report(report, now=now, policy=policy, is_dry_run=is_dry_run)
        if report["set_aside"] or report["not_looked_at"]:
            sys.exit(1)

    def print_report(self, report: "Report", *, now: datetime, policy: Policy, is_dry_run: bool) -> None:
        """Print a line for each workspace, and how many there are."""
        for row in (*report["set_aside"], *report["not_looked_at"]):
            self.stdout.write(printable(f"{row['name']} ({row['id']}): {row['error']}"))
        for row in report["failed"]:
            self.stdout.write(printable(f"{row['name']} ({row['id']}): {row['code']}: {row['error']}"))
        for row in report.get("next", []):
            self.stdout.write(printable(f"Next: {row['name']} ({row['id']}), {row['left']} ({row['deadline_at']})"))
        if run := report.get("run"):
            self.stdout.write(run_text(run))
        if report["failed"] or report["set_aside"]:
            self.stdout.write(failed_text(report, is_dry_run=is_dry_run))
        else:
            self.stdout.write(nothing_stuck_text(now=now, policy=policy))


Report = dict[str, Any]


def run_sweep(*, now: datetime, policy: Policy) -> Report:
    """Sweep, and return what was done."""
    outages.record_liveness(part=Component.SWEEP, now=now)
    result = sweep.sweep_stuck(now=now, policy=policy)
    tasks.enqueue_due_teardowns(now=now)
    run = sweep.last_sweep_run()
    names = ("duration_seconds", "lag_seconds", "looked_at", "flips", "held", "postponed", "set_aside")
    return {
        "failed": [failed_row(row, code=row.failure_code, error=row.failure_message) for row in result.failed],
        **broken_rows(result.set_aside),
        "run": {name: round(getattr(run, name), 3) for name in names} if run else {},
    }


def preview(*, now: datetime, policy: Policy) -> Report:
    """Return what a sweep would do now, and the next deadlines."""
    planned = sweep.preview_sweep(now=now, policy=policy)
    upcoming = []
    for row in sweep.next_deadlines(now=now, policy=policy)[:NEXT_SHOWN]:
        deadline = effective_deadline(row, policy=policy) or now
        upcoming.append(
            {
                "id": str(row.pk),
                "name": row.name,
                "phase": str(row.phase),
                "deadline_at": deadline.strftime("%Y-%m-%d %H:%M:%S UTC"),
                "left": format_time_left(round((deadline - now).total_seconds())),
            }
        )
    failed = [failed_row(row, code=reason.code, error=reason.message) for row, reason in planned.reasons]
    return {"failed": failed, **broken_rows(planned.set_aside), "next": upcoming}


def broken_rows(set_aside: Sequence[RowFailure[Workspace]]) -> Report:
    """Return the workspaces that could not be swept, and those that the watcher can't look at, with the reasons."""
    unseen = [(launch.workspace, launch.evidence["detail"]) for launch in launches_not_looked_at()]
    swept = [(failure.row, failure.text) for failure in set_aside]
    return {
        name: [{"id": str(row.pk), "name": row.name, "error": error} for row, error in rows]
        for name, rows in (("set_aside", swept), ("not_looked_at", unseen))
    }


def failed_row(workspace: Workspace, *, code: str, error: str) -> dict[str, str]:
    return {"id": str(workspace.pk), "name": workspace.name, "code": str(code), "error": error}


def run_text(run: dict[str, Any]) -> str:
    """Return the record of a run in one sentence."""
    lag = f"; the earliest deadline passed {format_duration(run['lag_seconds'])} before" if run["looked_at"] else ""
    return (
        f"Checked {run['looked_at']} in {run['duration_seconds']:.2f} s: {run['flips']} failed, {run['held']} held, "
        f"{run['postponed']} waiting in a queue that moves{lag}."
    )


def failed_text(report: Report, *, is_dry_run: bool) -> str:
    """Return how many workspaces were failed, or would be."""
    number, set_aside = len(report["failed"]), len(report["set_aside"])
    noun = "workspace" if number == 1 else "workspaces"
    if is_dry_run:
        return f"Would fail {number} stuck {noun}; nothing was changed."
    retried = f" {set_aside} could not be swept and will be tried again." if set_aside else ""
    return f"Failed {number} stuck {noun}.{retried}"


def nothing_stuck_text(*, now: datetime, policy: Policy) -> str:
    """Return that nothing is stuck, and the next deadline."""
    nearest = sweep.next_deadlines(now=now, policy=policy).first()
    deadline = effective_deadline(nearest, policy=policy) if nearest else None
    if nearest is None or deadline is None:
        return "0 workspaces are stuck, and 0 are provisioning."
    left = format_time_left(round((deadline - now).total_seconds()))
    number = Workspace.objects.provisioning().count()
    name = printable(nearest.name)
    return (
        f"0 workspaces are stuck; {number} are provisioning. "
        f"The next deadline is that of {name}, {left} ({deadline:%H:%M:%S UTC})."
    )
