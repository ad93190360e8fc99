"""`slipway ls` and `slipway get`: what there is."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.live import Live

from slipway.answers import shapes
from slipway.client import MOST_ROWS, Client
from slipway.errors import CommandFailed, ExitCode
from slipway.finding import as_id, find
from slipway.output import Format, OutputOption, console_for, show_one, show_rows, table_of, warn
from slipway.session import NameArgument, client_of
from slipway.texts import one_line, printable
from slipway.workspace_columns import WORKSPACE_COLUMNS

_WATCH_SECONDS = 2.0
NeedsRestartOption = Annotated[
    bool | None,
    typer.Option(
        "--needs-restart/--no-needs-restart",
        help="Only those whose secrets have changed since their launch, or have not.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ls")(list_workspaces)
    app.command("get")(get_workspace)


def list_workspaces(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option("--status", "-s", help="Only with this status.")] = None,
    runtime: Annotated[list[str] | None, typer.Option(help="Only with this runtime.")] = None,
    template: Annotated[list[str] | None, typer.Option(help="Only from this template.")] = None,
    backend: Annotated[list[str] | None, typer.Option(help="Only on this backend, such as process.")] = None,
    failure_code: Annotated[list[str] | None, typer.Option(help="Only those that failed with this code.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="Only with team=search, or team.")] = None,
    secret_set: Annotated[list[str] | None, typer.Option(help="Only those that have this set of secrets.")] = None,
    under: Annotated[str, typer.Option(help="Only this workspace and its descendants.")] = "",
    text: Annotated[str, typer.Option("--text", "-q", help="Only with this in name, role, failure, …")] = "",
    needs_restart: NeedsRestartOption = None,
    removed: Annotated[bool, typer.Option("--removed", help="The removed ones, too.")] = False,
    sort: Annotated[str, typer.Option(help="name, created_at or runtime; -name for the other way round.")] = "name",
    most: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = MOST_ROWS,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing changes until Ctrl-C.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """List workspaces. An option that is given several times needs one match; all options have to match."""
    client = client_of(context)
    query: dict[str, Any] = {
        "status": status,
        "runtime": runtime,
        "template": template,
        "failure_code": failure_code,
        "backend": backend,
        "label": label,
        "secret_set": secret_set,
        "subtree": find(client, under)["id"] if under else None,
        "q": text,
        "needs_restart": None if needs_restart is None else str(needs_restart).lower(),
        "include_removed": "true" if removed else None,
        "sort": sort,
    }
    if watch:
        watch_workspaces(client, query, output, most=most)
    else:
        show_rows(client.pages("/workspaces", query, shape=shapes.WORKSPACE, most=most), WORKSPACE_COLUMNS, output)


def get_workspace(
    context: typer.Context,
    name: NameArgument,
    removed: Annotated[bool, typer.Option("--removed", help="Show it even if it was removed; needs its ID.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show all fields of one workspace."""
    client = client_of(context)
    if removed and as_id(name):
        show_one(client.get(f"/workspaces/{name}", shape=shapes.WORKSPACE, include_removed="true"), output)
    else:
        show_one(find(client, name), output)


def watch_workspaces(client: Client, query: dict[str, Any], output: Format, *, most: int) -> None:
    """Show the list again and again: in a terminal in place, elsewhere a line for each one that changed."""
    if sys.stdout.isatty() and output is Format.TABLE:
        console = console_for()
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            # What else is written to the terminal would stand in the midst of the table.
            polling = polled(client, query, most=most, tell=lambda sentence: console.print(printable(sentence)))
            for rows in polling:
                live.update(table_of(rows, WORKSPACE_COLUMNS, console), refresh=True)
    shown: dict[str, str] = {}
    for rows in polled(client, query, most=most):
        lines = {row["id"]: watch_line(row, output) for row in rows}
        for workspace_id, line in lines.items():
            if shown.get(workspace_id) != line:
                typer.echo(line)
        shown = lines


def polled(
    client: Client, query: dict[str, Any], *, most: int, tell: Callable[[str], None] = warn
) -> Iterator[list[dict[str, Any]]]:
    """Yield the workspaces every few seconds for ever, also after times in which the server can't answer.

    `tell` gets a sentence for each such time. Raises CommandFailed if the server refuses, or can't be reached at first.
    """
    is_first, is_told = True, False
    while True:
        try:
            rows = client.pages("/workspaces", query, shape=shapes.WORKSPACE, most=most)
        except CommandFailed as error:
            if is_first or error.exit_code is not ExitCode.UNAVAILABLE:
                raise
            if not is_told:
                tell(f"{error} Asking again.")
            is_told = True
        else:
            is_first = is_told = False
            yield rows
        time.sleep(_WATCH_SECONDS)


def watch_line(row: dict[str, Any], output: Format) -> str:
    """Return the line that stands for a workspace's present state."""
    if output in (Format.JSON, Format.YAML):
        return json.dumps({key: row[key] for key in ("id", "name", "status", "version", "phase", "progress_step")})
    if output is Format.NAME:
        return one_line(row["name"])
    shown = [WORKSPACE_COLUMNS[title](row) for title in ("NAME", "STATUS", "ID", "DETAIL")]
    return "\t".join(map(one_line, shown)).rstrip()
