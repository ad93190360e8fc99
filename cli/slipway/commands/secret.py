"""`slipway secret`: what workspaces get as environment variables. Values go in, and never come out."""

from pathlib import Path
from typing import Annotated

import typer

from slipway.answers import shapes
from slipway.client import Client, quoted
from slipway.errors import CommandFailed, ExitCode
from slipway.finding import find
from slipway.output import Columns, Format, OutputOption, show_done, show_rows
from slipway.session import client_of, complete_name
from slipway.texts import one_line
from slipway.values import confirm, read_value

secret_app = typer.Typer(help="List, set and delete secrets.", no_args_is_help=True)
WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="The secrets of this workspace.", autocompletion=complete_name)
]
GlobalOption = Annotated[bool, typer.Option("--global", "-g", help="Those that every workspace gets.")]
SetOption = Annotated[str, typer.Option("--set", "-s", help="Those of this set, which several workspaces share.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
_COLUMNS: Columns = {
    "NAME": lambda row: row["name"],
    "SCOPE": lambda row: row["scope"],
    "SET": lambda row: row["secret_set"] or "",
    "VERSION": lambda row: str(row["version"]),
    "BY": lambda row: row["set_by"],
    "AT": lambda row: row["set_at"],
}
_SET_COLUMNS: Columns = {
    "NAME": lambda row: row["name"],
    "SECRETS": lambda row: str(row["secrets"]),
    "WORKSPACES": lambda row: str(row["workspaces"]),
}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(secret_app, name="secret")


@secret_app.command("ls")
def list_secrets(
    context: typer.Context,
    workspace: WorkspaceOption = "",
    is_global: GlobalOption = False,
    secret_set: SetOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """List the names of secrets: of a workspace also those of its sets and the global ones."""
    client = client_of(context)
    path, _ = place_of(client, workspace, is_global, secret_set)
    if secret_set:
        rows = client.get(path, shape=shapes.SECRET_SET)["secrets"]
    else:
        rows = client.pages(path, shape=shapes.SECRET)
    show_rows(rows, _COLUMNS, output)


@secret_app.command("sets")
def list_sets(context: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """List the sets of secrets, and how many workspaces have each."""
    rows = client_of(context).pages("/settings/secret-sets", shape=shapes.SECRET_SET_IN_LIST)
    show_rows(rows, _SET_COLUMNS, output)


@secret_app.command("set")
def set_secret(
    context: typer.Context,
    name: str,
    workspace: WorkspaceOption = "",
    is_global: GlobalOption = False,
    secret_set: SetOption = "",
    from_file: Annotated[Path | None, typer.Option(help="A file with the value; it may have several lines.")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Set or replace a secret. Its value is asked for, or read from a file or a pipe, and never an argument.

    The last line break is not part of it. Agents get it at their next launch. A set that does not exist is created.
    """
    client = client_of(context)
    path, _ = place_of(client, workspace, is_global, secret_set)
    client.send("PUT", path, {"key": name, "value": read_value(name, file=from_file)}, shape=shapes.DONE)
    show_done(f"Set 1 secret, {name}. Restart what needs it.", [{"name": name}], output)


@secret_app.command("rm")
def delete_secret(
    context: typer.Context,
    name: str,
    workspace: WorkspaceOption = "",
    is_global: GlobalOption = False,
    secret_set: SetOption = "",
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Delete a secret. Running agents have it until their launch ends."""
    client = client_of(context)
    path, owner = place_of(client, workspace, is_global, secret_set)
    confirm("delete", f"the secret {one_line(name)} ({owner})", yes=yes)
    client.send("DELETE", f"{path}/{quoted(name)}", shape=shapes.DONE)
    show_done(f"Deleted 1 secret, {name}.", [{"name": name}], output)


@secret_app.command("rm-set")
def delete_set(context: typer.Context, name: str, yes: YesOption = False, output: OutputOption = Format.TABLE) -> None:
    """Delete a set with its secrets. One that a workspace has is kept."""
    client = client_of(context)
    confirm("delete", f"the set {one_line(name)} with its secrets", yes=yes)
    client.send("DELETE", f"/settings/secret-sets/{quoted(name)}", shape=shapes.DONE)
    show_done(f"Deleted 1 set, {name}.", [{"name": name}], output)


def place_of(client: Client, workspace: str, is_global: bool, secret_set: str) -> tuple[str, str]:
    """Return the path of the secrets that are meant, and whose they are. Raises CommandFailed unless one scope is."""
    if sum(map(bool, (workspace, is_global, secret_set))) != 1:
        raise CommandFailed("Give one of --workspace NAME, --set NAME and --global.", ExitCode.WRONG_ARGUMENT)
    if workspace:
        found = find(client, workspace)
        return f"/workspaces/{found['id']}/secrets", f"workspace {one_line(found['name'])}"
    if secret_set:
        return f"/settings/secret-sets/{quoted(secret_set)}", f"set {one_line(secret_set)}"
    return "/settings/secrets", "global"
