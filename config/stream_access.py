"""Who may read the live streams. It is here because `events` knows neither sessions nor API keys."""

from dataclasses import replace
from uuid import UUID

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.urls import resolve

from events.live.stream import StreamRefused
from workspaces.access.authentication import Access, Agent, Operator, challenge
from workspaces.access.errors import RequestRefused
from workspaces.api.diagnosis.logs import READ as READ_LOG
from workspaces.models import ApiScope

READ_EVENTS = Access(scopes=(ApiScope.READ,), permission="events.view_event")
READ_OWN_EVENTS = replace(READ_EVENTS, own_agent=True)


def require_reader(request: HttpRequest, workspace_id: UUID | None) -> None:
    """Raise StreamRefused unless an operator or an API key may read events.

    The agent of `workspace_id` may too. The request has not passed through Django's middleware.
    """
    require(READ_OWN_EVENTS if workspace_id else READ_EVENTS, request)


def require_log_reader(request: HttpRequest, workspace_id: UUID | None) -> Operator | Agent:
    """Return who asks to read a workspace's log.

    Raise StreamRefused unless it is an operator, an API key or its own agent that may.
    """
    return require(READ_LOG, request)


def require(access: Access, request: HttpRequest) -> Operator | Agent:
    """Return who asks; raise StreamRefused unless the request's credential has this access."""
    for middleware in _MIDDLEWARE:
        middleware.process_request(request)
    request.resolver_match = resolve(request.path_info)
    try:
        return access(request)
    except RequestRefused as refusal:
        headers = {"WWW-Authenticate": challenge(refusal.code)} if refusal.status == 401 else {}
        raise StreamRefused(refusal.status, str(refusal), headers=headers, code=refusal.code) from None


# Only their `process_request` is used, to find the user.
_MIDDLEWARE = (SessionMiddleware(HttpResponse), AuthenticationMiddleware(HttpResponse))
