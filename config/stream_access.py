"""Who may read the live streams. It is here because `events` knows neither sessions nor API keys."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.urls import resolve

from events.live.stream import StreamRefused
from events.models import Event
from workspaces.access.authentication import Access, Agent, Operator, challenge
from workspaces.access.errors import RequestRefused
from workspaces.api.diagnosis.logs import READ as READ_LOG
from workspaces.models import ApiScope, Workspace
from workspaces.services.core.transition import UnknownWorkspace

READ_EVENTS = Access(scopes=(ApiScope.READ,), permission="events.view_event")
READ_OWN_EVENTS = replace(READ_EVENTS, own_agent=True)


def require_reader(request: HttpRequest, workspace_id: UUID | None) -> None:
    """Raise StreamRefused unless an operator or an API key may read events.

    The agent of `workspace_id` may too, and without such a workspace nobody. The request has not passed through
    Django's middleware.
    """
    require(READ_OWN_EVENTS if workspace_id else READ_EVENTS, request)
    if workspace_id:
        try:
            require_known(workspace_id)
        except UnknownWorkspace as error:
            raise StreamRefused(HTTPStatus.NOT_FOUND, str(error), code="not_found") from None


def require_known(workspace_id: UUID) -> None:
    """Raise UnknownWorkspace if there is neither a workspace with this ID nor an event, which outlasts it."""
    about = (Workspace.objects.filter(pk=workspace_id), Event.objects.filter(workspace_id=workspace_id))
    if not any(rows.exists() for rows in about):
        raise UnknownWorkspace(workspace_id)


def of_known_workspaces(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a view of Ninja's that raises UnknownWorkspace if it is asked for one that there never was."""

    @wraps(view)
    def checked(request: HttpRequest, **parameters: Any) -> Any:
        if workspace_id := parameters.get("workspace_id"):
            require_known(workspace_id)
        return view(request, **parameters)

    return checked


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
