"""What can be done to workspaces: restart, pause, resume, hibernate, wake, cancel, rm."""

from typing import Annotated, Any

import typer

from slipway.answers import shapes
from slipway.client import Client, Query
from slipway.errors import CommandFailed
from slipway.finding import find_all
from slipway.following import follow_launch
from slipway.output import Format, OutputOption, show_once, show_one, show_rows, warn
from slipway.session import NamesArgument, client_of
from slipway.texts import one_line
from slipway.values import confirm

_COLUMNS = {"NAME": lambda row: row["name"], "STATUS": lambda row: row["status"], "ID": lambda row: row["id"]}
WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Show the steps until it is online or failed.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (restart, pause, resume, hibernate, wake, cancel):
        app.command()(command)
    app.command("rm")(remove)


def restart(
    context: typer.Context,
    names: NamesArgument,
    previous_configuration: Annotated[
        bool, typer.Option("--previous-configuration", help="As it was configured when it last came online.")
    ] = False,
    wait: WaitOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Stop the current launch and begin a new one. An external workspace gets a new token."""
    query = {"previous_configuration": "true"} if previous_configuration else {}
    act(context, names, "restart", output, query=query, wait=wait)


def pause(context: typer.Context, names: NamesArgument, output: OutputOption = Format.TABLE) -> None:
    """Stop workspaces and their descendants until somebody resumes them."""
    act(context, names, "pause", output)


def resume(
    context: typer.Context, names: NamesArgument, wait: WaitOption = False, output: OutputOption = Format.TABLE
) -> None:
    """Launch paused workspaces again, and the descendants that the pause stopped."""
    act(context, names, "resume", output, wait=wait)


def hibernate(
    context: typer.Context,
    names: NamesArgument,
    force: Annotated[bool, typer.Option("--force", help="Even with active tasks; their unsaved work is lost.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Stop idle workspaces until an operator or a request wakes them."""
    act(context, names, "hibernate", output, query={"force": "true"} if force else {})


def wake(
    context: typer.Context, names: NamesArgument, wait: WaitOption = False, output: OutputOption = Format.TABLE
) -> None:
    """Launch hibernated workspaces again, with the data they had."""
    act(context, names, "wake", output, wait=wait)


def cancel(context: typer.Context, names: NamesArgument, output: OutputOption = Format.TABLE) -> None:
    """Fail the launch of workspaces that are provisioning."""
    act(context, names, "cancel", output)


def remove(
    context: typer.Context,
    names: NamesArgument,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Their descendants, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Remove workspaces for good: processes, files, secrets and tokens. Events and launches are kept."""
    client = client_of(context)
    rows = find_all(client, names)
    confirm("remove", ", ".join(f"{one_line(row['name'])} ({row['id']})" for row in rows), yes=yes)
    run_each(client, rows, "DELETE", "", output, query={"confirm": "true"} if recursive else {})


def act(
    context: typer.Context,
    names: list[str],
    verb: str,
    output: Format,
    *,
    query: Query | None = None,
    wait: bool = False,
) -> None:
    """Run a verb on workspaces. Nothing is done to any of them if one is not found."""
    client = client_of(context)
    answers = run_each(client, find_all(client, names), "POST", f"/{verb}", output, query=query or {})
    for answer in answers if wait else []:
        follow_launch(client, answer["id"], output)


def run_each(
    client: Client, rows: list[dict[str, Any]], method: str, path: str, output: Format, *, query: Query
) -> list[dict[str, Any]]:
    """Call each workspace and show the answers. Raises CommandFailed with the first refusal, after all were tried."""
    answers, refusals = [], []
    for row in rows:
        try:
            answer = client.send(
                method, f"/workspaces/{row['id']}{path}", shape=shapes.OPERATED, query=query, keyed=True
            )
        except CommandFailed as error:
            refusals.append(error)
            continue
        answers.append({"name": row["name"], "id": row["id"], **answer})
    if answers:
        show_rows(answers, _COLUMNS, output)
    show_connections(answers, output)
    for refusal in refusals[1:]:
        warn(refusal)
    if refusals:
        raise refusals[0]
    return answers


def show_connections(answers: list[dict[str, Any]], output: Format) -> None:
    """Show what the agents of external workspaces need, unless the format has it. It is shown once."""
    for connection in filter(None, (answer.get("connection") for answer in answers)):
        if output is Format.TABLE:
            show_one(connection, output)
        elif output is Format.NAME:
            show_once(connection)
