"""`slipway logs`: what a workspace's process prints."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from slipway.client import Client
from slipway.finding import find
from slipway.live_stream import messages
from slipway.output import warn
from slipway.session import NameArgument, client_of
from slipway.texts import printable


class LogStream(StrEnum):
    """How far to follow a log, in which boot steps and agent write one after the other."""

    AGENT = "agent"
    BOOT = "boot"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs")(show_logs)


def show_logs(
    context: typer.Context,
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the launch ends, or Ctrl-C.")] = False,
    stream: Annotated[
        LogStream, typer.Option(help="With --follow, boot ends when it is online or failed.")
    ] = LogStream.AGENT,
) -> None:
    """Show the log of a workspace's launch, secrets masked. An interrupted stream goes on where it was."""
    client = client_of(context)
    path = f"/workspaces/{find(client, name)['id']}/logs"
    if follow:
        follow_log(client, path, stream)
    else:
        text = client.answer("GET", path, query={"stream": stream}).content.decode(errors="replace")
        typer.echo(printable(text), nl=False)


def follow_log(client: Client, path: str, stream: LogStream) -> None:
    """Show the lines of a log as they are written, until the server says why no more will come."""
    for sent in messages(client, path, {"stream": stream, "follow": "true"}):
        if sent.event == "end":
            warn(json.loads(sent.data)["reason"])
            return
        typer.echo(printable(sent.data))
