"""`slipway events`: what has happened, and what happens."""

import json
from typing import Annotated, Any

import typer

from slipway.answers import shapes
from slipway.finding import as_id, find
from slipway.live_stream import live_events
from slipway.output import Columns, Format, OutputOption, show_rows
from slipway.session import client_of, complete_name
from slipway.texts import one_line

_LONGEST_PAYLOAD = 400
_COLUMNS: Columns = {
    "POSITION": lambda row: str(row["position"]),
    "TIME": lambda row: str(row["timestamp"])[:19],
    "EVENT": lambda row: row["event"],
    "WORKSPACE": lambda row: str(row["workspace_id"] or ""),
    "PAYLOAD": lambda row: payload_text(row["payload"]),
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("events")(show_events)


def show_events(
    context: typer.Context,
    workspace: Annotated[
        str, typer.Option("--workspace", "-w", help="Only those of this workspace.", autocompletion=complete_name)
    ] = "",
    event: Annotated[list[str] | None, typer.Option("--event", "-e", help="Only with this name.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new ones until Ctrl-C.")] = False,
    after: Annotated[int | None, typer.Option(min=0, help="Only those behind this position.")] = None,
    most: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")] = 50,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show the newest events, or with --follow those that come.

    An interrupted stream goes on where it was. With --after it begins behind that position, and nothing is missed.
    """
    client = client_of(context)
    # The events of a removed workspace can be read by its ID.
    workspace_id = (as_id(workspace) or find(client, workspace)["id"]) if workspace else None
    if follow:
        for envelope in live_events(client, {"workspace": workspace_id, "event": event}, after=after):
            typer.echo(event_line(envelope, output))
    path = f"/events/{workspace_id}" if workspace_id else "/events"
    rows = client.pages(path, {"after": after, "event": event}, shape=shapes.EVENT, most=most)
    show_rows(sorted(map(as_envelope, rows), key=lambda row: row["position"]), _COLUMNS, output, name="event")


def as_envelope(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the log in the shape of the live stream."""
    kept = {key: row[key] for key in ("workspace_id", "payload", "position", "version")}
    return {"event": row["event_type"], "timestamp": row["created_at"], **kept}


def event_line(envelope: dict[str, Any], output: Format) -> str:
    """Return an event as one line."""
    if output in (Format.JSON, Format.YAML):
        return json.dumps(envelope)
    if output is Format.NAME:
        return one_line(envelope["event"])
    return "  ".join(one_line(column(envelope)) for column in _COLUMNS.values())


def payload_text(payload: dict[str, Any]) -> str:
    """Return what an event says, without what is empty."""
    told = ((key, value) for key, value in payload.items() if value not in (None, "", [], {}) and key != "version")
    text = " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in told)
    return text if len(text) <= _LONGEST_PAYLOAD else text[:_LONGEST_PAYLOAD] + "…"
