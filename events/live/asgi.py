"""The live streams as an ASGI application that runs beside Django's.

Django's own handler would use a thread and two tasks for each stream, and encode each event once for each client.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from events.live import server_sent, websocket
from events.live.authorization import Authorize
from events.live.stream_hub import Limits, StreamHub
from events.live.stream_request import own_path

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_ALL_EVENTS = "/events/stream"
_WORKSPACE_EVENTS = re.compile(r"/workspaces/([^/]+)/events/stream")


class LiveStreams:
    """The ASGI application for the connections that `serves` accepts. One for each process."""

    def __init__(self, *, authorize: Authorize, limits: Limits | None = None) -> None:
        self._hub = StreamHub(authorize=authorize, limits=limits or Limits())

    def serves(self, scope: Scope) -> bool:
        """Return whether a connection is for a live stream. Every WebSocket is."""
        if scope["type"] == "http":
            path = own_path(scope)
            return path == _ALL_EVENTS or _WORKSPACE_EVENTS.fullmatch(path) is not None
        return scope["type"] == "websocket"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it disconnects or its stream ends."""
        if scope["type"] == "websocket":
            await websocket.serve(self._hub, scope, receive, send)
            return
        match = _WORKSPACE_EVENTS.fullmatch(own_path(scope))
        await server_sent.serve(self._hub, scope, receive, send, workspace=match[1] if match else None)
