"""What Django's own handler says where a live stream is asked for: they are served beside it (events/live/asgi.py)."""

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse

_WSGI = "Live streams need the ASGI server, and this one speaks WSGI. Send this path to config.asgi."
_NO_UPGRADE = "This address is a WebSocket's: connect with ws:// or wss://. A proxy between must pass the upgrade on."


def live_stream_fallback(request: HttpRequest, **_: str) -> JsonResponse:
    """Answer where the server speaks WSGI, which has no room for streams; or a plain GET where a WebSocket is."""
    if isinstance(request, ASGIRequest):
        return _said(_NO_UPGRADE, status=426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    return _said(_WSGI, status=501)


def _said(error: str, *, status: int, headers: dict[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"error": error}, status=status, headers=headers, json_dumps_params={"separators": (",", ":")})
