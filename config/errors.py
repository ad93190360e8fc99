"""Errors that no view of ours answers (an unknown address, a wrong method) as JSON; the admin keeps its pages."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.deprecation import MiddlewareMixin

_SENTENCES = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not answer that method; see the header Allow.",
}


class JsonErrorMiddleware(MiddlewareMixin):
    """Replaces the text of an error by `{"error": …}`, and keeps its status and headers."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, or its JSON twin."""
        if not isinstance(response, HttpResponse) or not _is_bare_error(request, response):
            return response
        status = HTTPStatus(response.status_code)
        twin = JsonResponse({"error": _SENTENCES.get(status, status.phrase)}, json_dumps_params=_COMPACT)
        response.content, response["Content-Type"] = twin.content, twin["Content-Type"]
        # An inner middleware may have counted the text that is no more.
        response["Content-Length"] = str(len(response.content))
        return response


_COMPACT = {"separators": (",", ":")}


def _is_bare_error(request: HttpRequest, response: HttpResponse) -> bool:
    is_error = response.status_code >= HTTPStatus.BAD_REQUEST
    return is_error and not request.path.startswith("/admin/") and "json" not in response.get("Content-Type", "")
