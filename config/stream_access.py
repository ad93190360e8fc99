"""Who may listen to the live streams; `events` itself knows neither sessions nor API keys."""

from dataclasses import replace
from uuid import UUID

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.urls import resolve

from events.live.stream import StreamRefused
from workspaces.access.authentication import Access
from workspaces.access.errors import RequestRefused
from workspaces.models import ApiScope

READ_EVENTS = Access(scopes=(ApiScope.READ,), permission="events.view_event")
READ_OWN_EVENTS = replace(READ_EVENTS, own_agent=True)


def require_reader(request: HttpRequest, workspace_id: UUID | None) -> None:
    """Raise StreamRefused unless an operator, or an API key, may read events.

    With a workspace's id its own agent may too. The request did not come through Django's middleware.
    """
    _sessions.process_request(request)
    _users.process_request(request)
    request.resolver_match = resolve(request.path_info)
    try:
        (READ_OWN_EVENTS if workspace_id else READ_EVENTS)(request)
    except RequestRefused as refusal:
        headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
        raise StreamRefused(refusal.status, str(refusal), headers=headers, code=refusal.code) from None


def _unused(request: HttpRequest) -> HttpResponse:
    raise AssertionError("No request passes here.")


# Used for what they learn of a request, not for what they do to its answer.
_sessions = SessionMiddleware(_unused)
_users = AuthenticationMiddleware(_unused)
