"""Responses to errors outside our views: JSON for an unknown address or a wrong method, a page in the admin."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from events.live.stream import BAD_HOST

# The codes of errors that have none of their own.
_CODES = {
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
_MESSAGES = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not accept this method. See the Allow header.",
}


def reading(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a view that answers GET and HEAD, and everything else with 405, as the API's calls do.

    The CSRF middleware stands before the view and would answer 403.
    """
    return csrf_exempt(require_safe(view))


class JsonErrorMiddleware(MiddlewareMixin):
    """Replaces the body of an error outside the admin's pages with `{"error": …, "code": …}`. The status stays."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, with a JSON body if it is an error without one."""
        if not isinstance(response, HttpResponse) or response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        if is_page(request) or "json" in response.get("Content-Type", ""):
            return response
        status = HTTPStatus(response.status_code)
        body = error_json(status, _MESSAGES.get(status, status.phrase), code=code_of(status))
        response.content, response["Content-Type"] = body.content, body["Content-Type"]
        # An inner middleware may have set the length of the old body.
        response["Content-Length"] = str(len(response.content))
        return response


def is_page(request: HttpRequest) -> bool:
    """Return whether the request is for a page of the admin. Watchers report below /admin/, too."""
    if not request.path_info.startswith("/admin/"):
        return False
    try:
        # A request that a middleware refuses was not resolved.
        match = request.resolver_match or resolve(request.path_info)
    except Resolver404:
        return True
    return match.app_name != "ninja"


def error_json(status: HTTPStatus, sentence: str, *, code: str) -> JsonResponse:
    """Return an error as the API answers it."""
    return JsonResponse({"error": sentence, "code": code}, status=status, json_dumps_params={"separators": (",", ":")})


def code_of(status: HTTPStatus) -> str:
    """Return the code of an error of which only the status is known."""
    return _CODES.get(status, "internal" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "bad_request")


def try_later(sentence: str, *, seconds: int) -> JsonResponse:
    """Return the 503 for what can't be done now, with Retry-After."""
    response = error_json(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="unavailable")
    response["Retry-After"] = str(seconds)
    return response


def try_later_page(request: HttpRequest, sentence: str, *, seconds: int) -> HttpResponse:
    """Return the same as a page. The theme of the admin asks the database who is signed in, so this one is plain."""
    context = {"title": "Slipway is busy", "sentence": sentence}
    page = render(request, "config/short_page.html", context, status=HTTPStatus.SERVICE_UNAVAILABLE)
    page["Retry-After"] = str(seconds)
    return page


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the page for a form that Django refused to read, with the reason and a way back."""
    is_bad_host = isinstance(exception, DisallowedHost)
    if is_bad_host and not is_page(request):
        return error_json(HTTPStatus.BAD_REQUEST, BAD_HOST, code="bad_host")
    if isinstance(exception, RequestDataTooBig):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20
        title, sentence, status = "Too large", f"This form holds more than {limit} MiB.", 413
    else:
        title, sentence, status = "Bad request", "This request is not a form that can be read.", 400
    if not hasattr(request, "user"):
        # Refused before anyone was identified, such as a request for another host.
        reason = BAD_HOST if is_bad_host else "This request can't be served."
        page = render_to_string("config/short_page.html", {"title": title, "sentence": reason})
        return HttpResponse(page, status=status)
    context = {**admin.site.each_context(request), "title": title, "sentence": sentence}
    return render(request, "config/refused_form.html", context, status=status)
