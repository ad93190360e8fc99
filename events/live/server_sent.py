"""Server-sent events: an HTTP response that stays open."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from events.live.client_writer import Send
from events.live.disconnect import DisconnectWatcher
from events.live.event_batch import StreamFormat, body_part
from events.live.stream import CLIENT_GONE, StreamRefused
from events.live.stream_hub import StreamHub
from events.live.stream_request import check_request

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # A proxy that buffers the response would deliver it at the end.
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


async def serve(hub: StreamHub, scope: Mapping[str, Any], receive: Any, send: Send, *, workspace: str | None) -> None:
    """Serve one client, or refuse it with JSON. `workspace` is the ID in the URL of one workspace's stream."""
    try:
        try:
            workspace_id = None if workspace is None else UUID(workspace)
        except ValueError:
            raise StreamRefused(404, "There is nothing with this ID.", code="not_found") from None
        request = await check_request(hub, scope, workspace_id=workspace_id)
    except StreamRefused as refusal:
        await send_refusal(send, refusal)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    is_of_workspace = request.workspace_id is not None
    stream_format = StreamFormat.WORKSPACE_SERVER_SENT if is_of_workspace else StreamFormat.SERVER_SENT
    stream = request.stream(hub, scope, send, format=stream_format)
    # The ID of where it begins, so that a client which is cut off before its first logged event misses none.
    stream.writer.write([body_part(f"retry: 2000\nid: {request.after}\n: stream opened\n\n".encode())])
    DisconnectWatcher(receive, stream)
    end = await hub.serve(stream, after=request.after, end=request.end)
    if end is CLIENT_GONE:
        return
    stream.writer.discard()
    stream.writer.write([body_part(f": {end.reason}\n\n".encode()), body_part(b"", is_last=True)])
    # Without a limit: a response that is not finished stays open for ever.
    await stream.writer.drain(seconds=None)


async def send_refusal(send: Send, refusal: StreamRefused, *, kind: str = "http.response") -> None:
    """Send the refusal as a complete response."""
    body = json.dumps(refusal.body, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})
