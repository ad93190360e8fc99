"""Server-sent events: one HTTP answer that does not end by itself."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from events.live.batches import Shape, server_sent
from events.live.client_writer import Send
from events.live.departure import DepartureWatch
from events.live.opening import Opening, opening
from events.live.stream_hub import StreamHub
from events.live.streams import GONE, RefusedStream

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
        asked = await opening(hub, scope, workspace_id=None if workspace is None else _uuid(workspace))
    except RefusedStream as refusal:
        await answer(send, refusal)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await _stream(hub, scope, receive, send, asked)


async def answer(send: Send, refusal: RefusedStream, *, kind: str = "http.response") -> None:
    """Send the refusal as a whole answer."""
    body = json.dumps(refusal.body, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


async def _stream(hub: StreamHub, scope: Mapping[str, Any], receive: Any, send: Send, asked: Opening) -> None:
    shape = Shape.MESSAGE if asked.workspace_id is None else Shape.WORKSPACE_MESSAGE
    stream = asked.stream(hub, scope, send, shape=shape)
    stream.outlet.write([server_sent(_OPENING)])
    DepartureWatch(receive, stream)
    ending = await hub.serve(stream, after=asked.after, present=asked.present)
    if ending is GONE:
        return
    stream.outlet.discard()
    stream.outlet.write([server_sent(f": {ending.reason}\n\n".encode()), server_sent(b"", is_last=True)])
    # However long it takes: a stream that is not brought to its end stays open for ever.
    await stream.outlet.drain(seconds=None)


def _require_get(scope: Mapping[str, Any]) -> None:
    if scope["method"] != "GET":
        raise RefusedStream(405, "The live stream answers GET only.", headers={"Allow": "GET"})


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise RefusedStream(404, "There is nothing by this id.", code="not_found") from None
