"""The screenshot of `slipway top` for docs/screenshots.py: Textual draws it, without a terminal."""

import asyncio
from contextlib import closing
from pathlib import Path

from slipway.client import Client
from slipway.fleet_view import FleetView
from slipway.profiles import Server
from textual.widgets import RichLog

_SIZE = (150, 30)
_PATIENCE_SECONDS = 60
# The two that docs/screenshots.py restarts meanwhile.
_ONLINE_AGAIN = 2


def take_top_screenshot(server: Server, *, images: Path) -> None:
    """Open the view of a server, wait until it has shown the restarts, and save it."""
    with closing(Client(server)) as client:
        asyncio.run(_take(FleetView(client), images / "slipway-top.svg"))


async def _take(view: FleetView, image: Path) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS), view.run_test(size=_SIZE) as pilot:
        events = view.query_one("#events", RichLog)
        while sum("WORKSPACE_ONLINE" in line.text for line in events.lines) < _ONLINE_AGAIN:
            await pilot.pause(0.2)
        # Until the workspaces are read once more.
        await pilot.pause(2)
        image.write_text(view.export_screenshot(title="slipway top"))
