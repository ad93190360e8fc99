"""The answer while Postgres can't be used: 503 with Retry-After, after a second try if only the connection was lost."""

import sys
from collections.abc import Callable

from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views import defaults

from config.api.error_responses import try_later, try_later_page
from postgres.errors import is_lock_timeout, is_lost_connection, is_outage

RETRY_AFTER_SECONDS = 2
# A heartbeat only stores what is true now, so doing it twice does no harm.
_REPEATED_POSTS = frozenset({"/registry/heartbeat"})
_LOST = "slipway.lost_connection"


class RepeatAfterLostConnection:
    """Repeats a read or heartbeat once, on a new connection, if Postgres ended the first one meanwhile."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the answer, that to the second try if there was one."""
        response = self.get_response(request)
        if is_worth_repeating(request):
            connection.close()
            response = self.get_response(request)
        return response


def is_worth_repeating(request: HttpRequest) -> bool:
    """Return whether the answer is an error that comes from a lost connection, and doing it twice does no harm."""
    is_repeatable = request.method in {"GET", "HEAD"} or request.path_info in _REPEATED_POSTS
    return is_repeatable and bool(request.META.pop(_LOST, False))


def unavailable(request: HttpRequest, error: BaseException) -> JsonResponse:
    """Return the 503 for an outage of Postgres, and note whether the connection was lost."""
    request.META[_LOST] = is_lost_connection(error)
    return try_later(unavailable_sentence(error), seconds=RETRY_AFTER_SECONDS)


def unavailable_sentence(error: BaseException) -> str:
    """Return what the caller should know about an outage; nothing of the error itself, which may name hosts."""
    if is_lock_timeout(error):
        return "Something else keeps this record locked. Nothing was changed. Try again in a few seconds."
    return "The database can't be used right now. Try again in a few seconds."


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the answer to an exception outside the API: 503 for an outage of Postgres, else 500."""
    error = sys.exc_info()[1]
    if error is None or not is_outage(error):
        return defaults.server_error(request)
    response = unavailable(request, error)
    if request.path_info.startswith("/admin/"):
        return try_later_page(request, unavailable_sentence(error), seconds=RETRY_AFTER_SECONDS)
    return response
