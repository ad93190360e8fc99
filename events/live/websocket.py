"""GET /ws: the live envelope over a WebSocket. Nothing that a client sends is read."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from events.live.authorization import django_request
from events.live.client_writer import Send
from events.live.disconnect import DisconnectWatcher
from events.live.event_batch import StreamFormat
from events.live.server_sent import answer
from events.live.stream import CLIENT_GONE, StreamRefused
from events.live.stream_hub import StreamHub
from events.live.stream_request import check_request

PATH = "/ws"
# A close frame has room for 125 bytes, two of them the code's.
_LONGEST_REASON = 120


async def serve(hub: StreamHub, scope: Mapping[str, Any], receive: Any, send: Send) -> None:
    """Serve one client; refuse it before the handshake, with the status and sentence of an HTTP answer."""
    await receive()
    try:
        _require_own_page(scope)
        asked = await check_request(hub, scope)
    except StreamRefused as refusal:
        await _refuse(scope, send, refusal)
        return
    await send({"type": "websocket.accept"})
    stream = asked.stream(hub, scope, send, shape=StreamFormat.TEXT)
    watch = DisconnectWatcher(receive, stream)
    ending = await hub.serve(stream, after=asked.after, present=asked.present)
    if ending is CLIENT_GONE:
        return
    watch.stop()
    stream.writer.discard()
    stream.writer.write([_close(ending.code, ending.reason)])
    await stream.writer.drain(seconds=None)


def _require_own_page(scope: Mapping[str, Any]) -> None:
    """Refuse pages of other sites: a browser sends them the operator's cookie too."""
    if scope["path"] != PATH:
        raise StreamRefused(404, f"There is no WebSocket at this address; it is {PATH}.")
    request = django_request(scope)
    origin = request.headers.get("Origin")
    if origin is not None and not _is_own(origin, request):
        raise StreamRefused(403, "This page's origin may not open a stream. See CSRF_TRUSTED_ORIGINS.", code="origin")


def _is_own(origin: str, request: ASGIRequest) -> bool:
    scheme, host = urlsplit(origin)[:2]
    # The host without a look at the scheme: behind a proxy that ends TLS ours is not the browser's.
    if scheme in {"http", "https"} and host and host == request.headers.get("Host"):
        return True
    return any(_matches(scheme, host, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS)


def _matches(scheme: str, host: str, trusted: str) -> bool:
    trusted_scheme, trusted_host = urlsplit(trusted)[:2]
    if scheme != trusted_scheme:
        return False
    return host == trusted_host or (trusted_host.startswith("*.") and host.endswith(trusted_host[1:]))


async def _refuse(scope: Mapping[str, Any], send: Send, refusal: StreamRefused) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await answer(send, refusal, kind="websocket.http.response")
    else:
        await send(_close(4000 + refusal.status, str(refusal)))


def _close(code: int, reason: str) -> dict[str, Any]:
    short = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
    return {"type": "websocket.close", "code": code, "reason": short}
