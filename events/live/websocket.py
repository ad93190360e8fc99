"""GET /ws: the live envelope over a WebSocket. What a client sends is not read."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from events.live.authorization import django_request
from events.live.client_writer import Send
from events.live.disconnect import DisconnectWatcher
from events.live.event_batch import StreamFormat
from events.live.server_sent import send_refusal
from events.live.stream import CLIENT_GONE, StreamRefused
from events.live.stream_hub import StreamHub
from events.live.stream_request import check_request, own_path

PATH = "/ws"
# A close frame holds 125 bytes, two of them for the code.
_MAX_REASON_BYTES = 120


async def serve(hub: StreamHub, scope: Mapping[str, Any], receive: Any, send: Send) -> None:
    """Serve one client, or refuse it before the handshake with an HTTP status and a sentence."""
    await receive()
    try:
        _check_path_and_origin(scope)
        request = await check_request(hub, scope)
    except StreamRefused as refusal:
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await send_refusal(send, refusal, kind="websocket.http.response")
        else:
            await send(_close(4000 + refusal.status, str(refusal)))
        return
    await send({"type": "websocket.accept"})
    stream = request.stream(hub, scope, send, format=StreamFormat.WEBSOCKET)
    watcher = DisconnectWatcher(receive, stream)
    end = await hub.serve(stream, after=request.after, end=request.end)
    if end is CLIENT_GONE:
        return
    watcher.stop()
    stream.writer.discard()
    stream.writer.write([_close(end.code, end.reason)])
    await stream.writer.drain(seconds=None)


def _check_path_and_origin(scope: Mapping[str, Any]) -> None:
    if own_path(scope) != PATH:
        raise StreamRefused(404, f"There is no WebSocket at this address; it is {PATH}.", code="not_found")
    request = django_request(scope)
    # Refuse other sites' pages, since the browser sends the operator's cookie for them, too.
    origin = request.headers.get("Origin")
    if origin is None:
        return
    scheme, host = urlsplit(origin)[:2]
    # Don't compare the scheme with ours: behind a proxy that ends TLS it differs from the browser's.
    if scheme in {"http", "https"} and host and host == request.headers.get("Host"):
        return
    for trusted_scheme, trusted_host in (urlsplit(trusted)[:2] for trusted in settings.CSRF_TRUSTED_ORIGINS):
        is_subdomain = trusted_host.startswith("*.") and host.endswith(trusted_host[1:])
        if scheme == trusted_scheme and (host == trusted_host or is_subdomain):
            return
    raise StreamRefused(403, "This page's origin may not open a stream. See CSRF_TRUSTED_ORIGINS.", code="origin")


def _close(code: int, reason: str) -> dict[str, Any]:
    short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    return {"type": "websocket.close", "code": code, "reason": short}
