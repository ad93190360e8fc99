"""What Django's own handler says where a live stream is asked for: they are served beside it (events/asgi.py)."""

from django.http import HttpRequest, JsonResponse


def needs_asgi(request: HttpRequest, **_: str) -> JsonResponse:
    """Answer where the server speaks WSGI, which has no room for streams."""
    error = "Live streams need the ASGI server, and this one speaks WSGI. Send this path to config.asgi."
    return JsonResponse({"error": error}, status=501, json_dumps_params={"separators": (",", ":")})
