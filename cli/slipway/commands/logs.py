"""`slipway logs`: what a workspace's process prints."""

from enum import StrEnum
from typing import Annotated

import typer

from slipway.answers import shapes
from slipway.client import Client, parsed
from slipway.finding import find
from slipway.live_stream import messages
from slipway.output import warn
from slipway.session import NameArgument, client_of
from slipway.texts import printable


class LogStream(StrEnum):
    """A part of a log: what was written until the launch was online, or the rest."""

    BOOT = "boot"
    AGENT = "agent"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs")(show_logs)


def show_logs(
    context: typer.Context,
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the launch ends, or Ctrl-C.")] = False,
    stream: Annotated[
        LogStream | None, typer.Option(help="Only the boot output, until it is online, or only the agent's after it.")
    ] = None,
) -> None:
    """Show the log of a workspace's launch, secrets masked. An interrupted stream goes on where it was."""
    client = client_of(context)
    path = f"/workspaces/{find(client, name)['id']}/logs"
    query = {"stream": stream.value} if stream else {}
    if follow:
        follow_log(client, path, query)
    else:
        text = client.answer("GET", path, query=query).content.decode(errors="replace")
        typer.echo(printable(text), nl=False)


def follow_log(client: Client, path: str, query: dict[str, str]) -> None:
    """Show the lines of a log as they are written, until the server says why no more will come."""
    for sent in messages(client, path, {**query, "follow": "true"}):
        if sent.event == "end":
            warn(parsed(sent.data, shapes.END_OF_LOG, url=client.url)["reason"])
            return
        typer.echo(printable(sent.data))
