"""Server-sent events: one HTTP answer that does not end by itself."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from events.live.client_writer import Send
from events.live.disconnect import DisconnectWatcher
from events.live.event_batch import StreamFormat, body_part
from events.live.stream import CLIENT_GONE, StreamRefused
from events.live.stream_hub import StreamHub
from events.live.stream_request import StreamRequest, check_request

_OPENING = b"retry: 2000\n: stream opened\n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # A proxy that gathers the answer first would deliver it at the end.
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


async def serve(hub: StreamHub, scope: Mapping[str, Any], receive: Any, send: Send, *, workspace: str | None) -> None:
    """Serve one client, or refuse it as JSON. `workspace` is the id of whose own stream the address is."""
    try:
        _require_get(scope)
        asked = await check_request(hub, scope, workspace_id=None if workspace is None else _uuid(workspace))
    except StreamRefused as refusal:
        await answer(send, refusal)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await _stream(hub, scope, receive, send, asked)


async def answer(send: Send, refusal: StreamRefused, *, kind: str = "http.response") -> None:
    """Send the refusal as a whole answer."""
    body = json.dumps(refusal.body, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


async def _stream(hub: StreamHub, scope: Mapping[str, Any], receive: Any, send: Send, asked: StreamRequest) -> None:
    shape = StreamFormat.MESSAGE if asked.workspace_id is None else StreamFormat.WORKSPACE_MESSAGE
    stream = asked.stream(hub, scope, send, shape=shape)
    stream.writer.write([body_part(_OPENING)])
    DisconnectWatcher(receive, stream)
    ending = await hub.serve(stream, after=asked.after, present=asked.present)
    if ending is CLIENT_GONE:
        return
    stream.writer.discard()
    stream.writer.write([body_part(f": {ending.reason}\n\n".encode()), body_part(b"", is_last=True)])
    # However long it takes: a stream that is not brought to its end stays open for ever.
    await stream.writer.drain(seconds=None)


def _require_get(scope: Mapping[str, Any]) -> None:
    if scope["method"] != "GET":
        raise StreamRefused(405, "The live stream answers GET only.", headers={"Allow": "GET"})


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise StreamRefused(404, "There is nothing by this id.", code="not_found") from None
