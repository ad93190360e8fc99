"""Whether this process lives, and whether it can serve."""

from django.http import HttpRequest, HttpResponse, JsonResponse

_COMPACT = {"separators": (",", ":")}


def health(request: HttpRequest) -> HttpResponse:
    """Answer as long as the process runs; asks nothing of anybody."""
    return JsonResponse({"status": "ok"}, json_dumps_params=_COMPACT)
