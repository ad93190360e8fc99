"""`manage.py workspaces`: list workspaces."""

import json
import shutil
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.texts import printable
from postgres.clock import database_now
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.management.examples import CommandWithExamples
from workspaces.models import Workspace
from workspaces.overview import Overview, format_duration, format_time_left, overview, overview_json
from workspaces.status_colours import TERMINAL_COLOURS, colour_of

EPILOG = """examples:
  manage.py workspaces
  manage.py workspaces --status failed
  manage.py workspaces --format json | jq '.[] | select(.failure) | .failure.message'
"""
# The width of a pipe or a file.
_WIDTH = 200
_COLUMNS = ("name", "id", "runtime", "status", "phase", "age", "deadline", "failure")


class Command(CommandWithExamples):
    help = "List workspaces with status, phase, age, deadline and failure. Removed ones need --status removed."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--status", default="", help=f"list only these: {', '.join(WorkspaceStatus.values)}")
        parser.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        status, now, policy = options["status"], database_now(), current_policy()
        if status and status not in WorkspaceStatus.values:
            known = ", ".join(WorkspaceStatus.values)
            raise CommandError(f"There is no status {status!r}. Known ones: {known}.", returncode=2)
        rows = Workspace.objects.order_by("name", "pk")
        rows = rows.filter(status=status) if status else rows.not_removed()
        overviews = [overview(row, now=now, policy=policy) for row in rows]
        if options["format"] == "json":
            self.stdout.write(json.dumps([overview_json(each) for each in overviews], indent=2))
        elif overviews:
            self.print_table(overviews)
        elif status:
            self.stdout.write(f"0 workspaces are {WorkspaceStatus(status).label.lower()}.")
        else:
            self.stdout.write("0 workspaces. Launch one: manage.py launch echo --wait")

    def print_table(self, overviews: Sequence[Overview]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in _COLUMNS:
            table.add_column(column, overflow="fold", no_wrap=column in {"status", "age"})
        for each in overviews:
            table.add_row(*table_row(each))
        is_terminal = self.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else _WIDTH
        console = Console(width=width, force_terminal=is_terminal, highlight=False)
        with console.capture() as captured:
            console.print(table)
        noun = "workspace" if len(overviews) == 1 else "workspaces"
        self.stdout.write(f"{captured.get()}{len(overviews)} {noun}.")


def table_row(each: Overview) -> list[Text]:
    """Return the texts of _COLUMNS."""
    workspace = each.workspace
    return [
        Text(printable(workspace.name)),
        Text(str(workspace.pk)),
        Text(printable(workspace.runtime)),
        Text(str(each.status), style=TERMINAL_COLOURS[colour_of(each.status)]),
        Text(printable(each.phase)),
        Text(format_duration(each.age.total_seconds())),
        Text("" if each.seconds_left is None else format_time_left(each.seconds_left)),
        Text(printable(each.failure)),
    ]
