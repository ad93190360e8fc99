"""`slipway secret`: what workspaces get as environment variables. Values go in, and never come out."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from slipway.client import Client
from slipway.errors import CommandFailed, ExitCode
from slipway.finding import find
from slipway.output import Columns, Format, OutputOption, say, show_rows
from slipway.session import client_of, complete_name
from slipway.values import read_file, read_value

secret_app = typer.Typer(help="List, set and delete secrets.", no_args_is_help=True)
WorkspaceOption = Annotated[
    str, typer.Option("--workspace", "-w", help="The secrets of this workspace.", autocompletion=complete_name)
]
GlobalOption = Annotated[bool, typer.Option("--global", "-g", help="Those that every workspace gets.")]
_COLUMNS: Columns = {
    "NAME": lambda row: row["name"],
    "SCOPE": lambda row: row["scope"],
    "UPDATED": lambda row: row["updated_at"],
}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(secret_app, name="secret")


@secret_app.command("ls")
def list_secrets(
    context: typer.Context,
    workspace: WorkspaceOption = "",
    is_global: GlobalOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """List the names of secrets: of a workspace also the global ones that it gets."""
    client = client_of(context)
    show_rows(client.get(path_of(client, workspace, is_global)), _COLUMNS, output)


@secret_app.command("set")
def set_secret(
    context: typer.Context,
    name: str,
    workspace: WorkspaceOption = "",
    is_global: GlobalOption = False,
    from_file: Annotated[Path | None, typer.Option(help="A file with the value; it may have several lines.")] = None,
) -> None:
    """Set or replace a secret. Its value is asked for, or read from a file or a pipe, and never an argument.

    Agents get it at their next launch.
    """
    client = client_of(context)
    path = path_of(client, workspace, is_global)
    value = read_file(from_file) if from_file else read_value(name)
    client.send("PUT", path, {"key": name, "value": value})
    say(f"Set 1 secret, {name}. Restart what needs it.")


@secret_app.command("rm")
def delete_secret(
    context: typer.Context, name: str, workspace: WorkspaceOption = "", is_global: GlobalOption = False
) -> None:
    """Delete a secret. Running agents have it until their launch ends."""
    client = client_of(context)
    client.send("DELETE", f"{path_of(client, workspace, is_global)}/{quote(name, safe='')}")
    say(f"Deleted 1 secret, {name}.")


def path_of(client: Client, workspace: str, is_global: bool) -> str:
    """Return the path of the secrets that are meant. Raises CommandFailed unless exactly one scope is."""
    if bool(workspace) == is_global:
        raise CommandFailed("Give --workspace NAME or --global.", ExitCode.WRONG_ARGUMENT)
    return "/settings/secrets" if is_global else f"/workspaces/{find(client, workspace)['id']}/secrets"
