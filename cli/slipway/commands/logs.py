"""`slipway logs`: what a workspace's process prints."""

import time
from typing import Annotated

import typer

from slipway.finding import find
from slipway.session import NameArgument, client_of
from slipway.texts import printable

_POLL_SECONDS = 1.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs")(show_logs)


def show_logs(
    context: typer.Context,
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show the end of a workspace's log, secrets masked."""
    client = client_of(context)
    path = f"/workspaces/{find(client, name)['id']}/console"
    shown = ""
    while True:
        text = printable(client.get(path)["output"])
        new = text[overlap(shown, text) :]
        typer.echo(new, nl=False)
        shown = text
        if not follow:
            break
        time.sleep(_POLL_SECONDS)
    if shown and not shown.endswith("\n"):
        typer.echo()


def overlap(shown: str, text: str) -> int:
    """Return how many characters at the beginning of a text are the end of what was shown."""
    return next((size for size in range(min(len(shown), len(text)), 0, -1) if shown.endswith(text[:size])), 0)
