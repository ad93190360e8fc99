"""What Django's own handler answers for a live stream's URL. The streams run beside it (events/live/asgi.py)."""

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse

_NO_ASGI = "Live streams need the ASGI server, and this one speaks WSGI. Send this path to config.asgi."
_NO_UPGRADE = "This is a WebSocket: connect with ws:// or wss://. A proxy in between must pass the upgrade on."


def live_stream_fallback(request: HttpRequest, **_: str) -> JsonResponse:
    """Answer 501 on a WSGI server, which can't stream, and 426 for a plain GET of the WebSocket's URL."""
    if isinstance(request, ASGIRequest):
        return _refuse(_NO_UPGRADE, status=426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    return _refuse(_NO_ASGI, status=501)


def _refuse(error: str, *, status: int, headers: dict[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"error": error}, status=status, headers=headers, json_dumps_params={"separators": (",", ":")})
