"""Errors that no view of ours answers: as JSON (an unknown address, a wrong method), in the admin as a page."""

from http import HTTPStatus

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
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


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the page for a form that Django refused to read, with the reason and a way back."""
    if isinstance(exception, RequestDataTooBig):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20
        title, sentence, status = "Too large", f"This form holds more than {limit} MiB.", 413
    else:
        title, sentence, status = "Refused", "This request can't be read as a form of ours.", 400
    context = {**admin.site.each_context(request), "title": title, "sentence": sentence}
    return render(request, "config/refused_form.html", context, status=status)


_COMPACT = {"separators": (",", ":")}


def _is_bare_error(request: HttpRequest, response: HttpResponse) -> bool:
    is_error = response.status_code >= HTTPStatus.BAD_REQUEST
    return is_error and not request.path.startswith("/admin/") and "json" not in response.get("Content-Type", "")
