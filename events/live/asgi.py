"""The live streams as an ASGI application beside Django's: server-sent events and WebSockets.

Beside it, since a stream through Django's own handler keeps a thread and two tasks, and makes each piece several times.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from events.live import server_sent, websocket
from events.live.authorization import Authorize
from events.live.stream_hub import Limits, StreamHub

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_ALL = "/events/stream"
_OF_WORKSPACE = re.compile(r"/workspaces/([^/]+)/events/stream")


class LiveStreams:
    """Serves what `serves` tells; a process needs one."""

    def __init__(self, *, authorize: Authorize, limits: Limits | None = None) -> None:
        self._hub = StreamHub(authorize=authorize, limits=limits or Limits())

    def serves(self, scope: Scope) -> bool:
        """Tell whether this connection is for a live stream; every WebSocket is."""
        if scope["type"] == "http":
            return scope["path"] == _ALL or _OF_WORKSPACE.fullmatch(scope["path"]) is not None
        return scope["type"] == "websocket"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it goes or is sent away."""
        if scope["type"] == "websocket":
            await websocket.serve(self._hub, scope, receive, send)
            return
        match = _OF_WORKSPACE.fullmatch(scope["path"])
        await server_sent.serve(self._hub, scope, receive, send, workspace=match[1] if match else None)
