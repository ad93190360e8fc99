"""The HTTP API: its routers, and how everything that goes wrong is told: `{"error", "code"?, "fields"?}`."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import RawPostDataException, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.renderers import JSONRenderer

from config.api.json_body import JsonParser, too_large
from config.stream_access import READ_EVENTS
from events.api import router as events_router
from registry.api import router as registry_router
from registry.api import watchers as watchers_router
from workspaces.access.errors import RequestRefused
from workspaces.api.routes import router as workspaces_router
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import TreeChanged
from workspaces.services.launching.create import InvalidWorkspace
from workspaces.services.stopping.remove import HasChildren

logger = logging.getLogger(__name__)


class CompactRenderer(JSONRenderer):
    """JSON without spaces: existing scripts compare its text."""

    json_dumps_params: Mapping[str, Any] = {"separators": (",", ":")}


api = NinjaAPI(
    title="Slipway",
    urls_namespace="api",
    openapi_url="/api/openapi.json",
    docs_url="/api/docs",
    docs_decorator=staff_member_required,
    parser=JsonParser(),
    renderer=CompactRenderer(),
)
api.add_router("/workspaces", workspaces_router)
api.add_router("/registry", registry_router)
api.add_router("/admin/workspaces", watchers_router)
api.add_router("/events", events_router, auth=READ_EVENTS)


def _answer(request: HttpRequest, status: HTTPStatus, error: str, **more: Any) -> HttpResponse:
    said = {name: value for name, value in more.items() if value}
    response = api.create_response(request, {"error": error, **said}, status=status)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(RequestRefused)
def _refused(request: HttpRequest, refusal: RequestRefused) -> HttpResponse:
    return _answer(request, refusal.status, str(refusal), code=refusal.code, fields=refusal.fields)


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    # Ninja answers 400 to whatever its parser raises.
    if isinstance(error.__cause__, RequestRefused):
        return _refused(request, error.__cause__)
    if isinstance(error.__cause__, RequestDataTooBig):
        return _refused(request, too_large())
    return _answer(request, HTTPStatus(error.status_code), str(error))


@api.exception_handler(RequestDataTooBig)
def _too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return _refused(request, too_large())


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, invalid: ValidationError) -> HttpResponse:
    if not request.body and any(error["loc"][0] == "body" for error in invalid.errors):
        return _answer(request, HTTPStatus.BAD_REQUEST, "The body is empty: send a JSON object.", code="bad_json")
    fields = {_field(error["loc"]): _sentence(error["msg"]) for error in invalid.errors}
    if any(error["loc"][0] == "path" for error in invalid.errors):
        return _answer(request, HTTPStatus.NOT_FOUND, "There is nothing by this id.", code="not_found", fields=fields)
    text = " ".join(f"{name}: {reason}" for name, reason in list(fields.items())[:5])
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, text, code="validation_error", fields=fields)


def _field(location: tuple[Any, ...]) -> str:
    # ("body", "body", "labels", "team"): where it came from, the view's parameter, then the field.
    parts = location[2:] if location[0] == "body" else location[1:]
    return ".".join(str(part) for part in parts)[:200] or "body"


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


@api.exception_handler(UnknownWorkspace)
def _unknown(request: HttpRequest, error: UnknownWorkspace) -> HttpResponse:
    return _answer(request, HTTPStatus.NOT_FOUND, str(error), code="not_found")


@api.exception_handler(TransitionRefused)
def _move_refused(request: HttpRequest, error: TransitionRefused) -> HttpResponse:
    status = str(error.workspace.status)
    if status == WorkspaceStatus.REMOVED:
        return _answer(request, HTTPStatus.GONE, str(error), code="removed", workspace_status=status)
    return _answer(request, HTTPStatus.CONFLICT, str(error), code="transition_refused", workspace_status=status)


@api.exception_handler(TreeChanged)
def _tree_unsteady(request: HttpRequest, error: TreeChanged) -> HttpResponse:
    return _answer(request, HTTPStatus.CONFLICT, str(error), code="tree_unsteady")


@api.exception_handler(InvalidWorkspace)
def _invalid_workspace(request: HttpRequest, error: InvalidWorkspace) -> HttpResponse:
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, str(error), code="validation_error", fields=error.fields)


@api.exception_handler(HasChildren)
def _has_children(request: HttpRequest, error: HasChildren) -> HttpResponse:
    children = [{"id": child_id, "name": name} for child_id, name in error.children]
    return _answer(request, HTTPStatus.CONFLICT, str(error), code="has_children", children=children)


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _answer(request, HTTPStatus.NOT_FOUND, "There is nothing at this address.", code="not_found")


@api.exception_handler(SuspiciousOperation)
@api.exception_handler(RawPostDataException)
@api.exception_handler(UnreadablePostError)
def _unreadable(request: HttpRequest, error: Exception) -> HttpResponse:
    return _answer(request, HTTPStatus.BAD_REQUEST, "The request can't be read: send a JSON body.", code="bad_request")


@api.exception_handler(Exception)
def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.error("A request failed unexpectedly", exc_info=error, extra={"path": request.path})
    sentence = "Something went wrong on our side; it was logged."
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, sentence, code="internal")
