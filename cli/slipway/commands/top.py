"""`slipway top`: the fleet, live."""

from typing import Annotated

import typer

from slipway.fleet_view import FleetView
from slipway.session import client_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top")(show_fleet)


def show_fleet(
    context: typer.Context,
    text: Annotated[str, typer.Option("--text", "-q", help="Only with this in name, role, failure, …")] = "",
) -> None:
    """Show the fleet and its events live in this terminal. `q` quits."""
    FleetView(client_of(context), text=text).run()
