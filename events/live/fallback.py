"""What Django's own handler answers for a live stream's URL. The streams run beside it (events/live/asgi.py)."""

from http import HTTPStatus

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse

_NO_ASGI = "Live streams need the ASGI server, and this one speaks WSGI. Send this path to config.asgi."
_NO_UPGRADE = "This is a WebSocket: connect with ws:// or wss://. A proxy in between must pass the upgrade on."


def live_stream_fallback(request: HttpRequest, **_: str) -> JsonResponse:
    """Answer 501 on a WSGI server, which can't stream, and 426 for a plain GET of the WebSocket's URL."""
    if isinstance(request, ASGIRequest):
        body, status = {"error": _NO_UPGRADE, "code": "needs_upgrade"}, HTTPStatus.UPGRADE_REQUIRED
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    else:
        body, status, headers = {"error": _NO_ASGI, "code": "needs_asgi"}, HTTPStatus.NOT_IMPLEMENTED, {}
    return JsonResponse(body, status=status, headers=headers, json_dumps_params={"separators": (",", ":")})
