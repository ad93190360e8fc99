"""`manage.py workspaces`: what there is, and how it is."""

import argparse
import json
import shutil
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from postgres.clock import database_now
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace, WorkspaceQuerySet
from workspaces.overview import Overview, format_duration, format_time_left, overview, overview_json, printable
from workspaces.status_colours import TERMINAL_COLOURS, colour_of

EPILOG = """examples:
  manage.py workspaces
  manage.py workspaces --status failed
  manage.py workspaces --format json | jq '.[] | select(.failure) | .failure.message'
"""
# Where nothing says how wide the output is, as in a pipe or a file.
_WIDTH = 200
_COLUMNS = ("name", "id", "runtime", "status", "phase", "age", "deadline", "failure")


class Command(BaseCommand):
    help = "List the workspaces with status, phase, age, deadline and failure; removed ones only by --status removed."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--status", default="", help=f"only these: {', '.join(WorkspaceStatus.values)}")
        parser.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        now, policy = database_now(), current_policy()
        glances = [overview(row, now=now, policy=policy) for row in _asked_for(options["status"])]
        if options["format"] == "json":
            self.stdout.write(json.dumps([overview_json(glance) for glance in glances], indent=2))
        elif glances:
            self._print_table(glances)
        else:
            self.stdout.write(_nothing(options["status"]))

    def _print_table(self, glances: Sequence[Overview]) -> None:
        is_terminal = self.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else _WIDTH
        console = Console(width=width, force_terminal=is_terminal, highlight=False)
        with console.capture() as captured:
            console.print(_table(glances))
        noun = "workspace" if len(glances) == 1 else "workspaces"
        self.stdout.write(f"{captured.get()}{len(glances)} {noun}.")


def _asked_for(status: str) -> WorkspaceQuerySet:
    rows = Workspace.objects.order_by("name", "pk")
    if not status:
        return rows.not_removed()
    if status not in WorkspaceStatus.values:
        raise CommandError(
            f"There is no status {status!r}. Known ones: {', '.join(WorkspaceStatus.values)}.", returncode=2
        )
    return rows.filter(status=status)


def _nothing(status: str) -> str:
    if status:
        return f"0 workspaces are {WorkspaceStatus(status).label.lower()}."
    return "0 workspaces. Launch one: manage.py launch echo --wait"


def _table(glances: Sequence[Overview]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in _COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column in {"status", "age"})
    for glance in glances:
        table.add_row(*_cells(glance))
    return table


def _cells(glance: Overview) -> list[Text]:
    workspace = glance.workspace
    texts = [
        workspace.name,
        str(workspace.pk),
        workspace.runtime,
        str(glance.status),
        glance.phase,
        format_duration(glance.age.total_seconds()),
        "" if glance.seconds_left is None else format_time_left(glance.seconds_left),
        glance.failure,
    ]
    cells = [Text(printable(text)) for text in texts]
    cells[3].stylize(TERMINAL_COLOURS[colour_of(glance.status)])
    return cells
