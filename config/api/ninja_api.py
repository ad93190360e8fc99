"""The HTTP API: its routers, and the answer to each exception."""

import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import ObjectDoesNotExist, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import RawPostDataException, UnreadablePostError
from ninja.errors import HttpError, ValidationError

from config.api import channels
from config.api.database_outages import unavailable
from config.api.error_responses import code_of, reading
from config.api.json_body import JsonParser, check_size, too_large
from config.api.json_renderer import JsonRenderer
from config.api.openapi import DescribedAPI
from config.api.parameters import refusing_unknown_parameters
from config.stream_access import READ_OWN_EVENTS, of_known_workspaces
from events.api import router as events_router
from events.channel_settings.saving import InvalidChannel
from events.channels.base import SendFailed
from events.channels.registry import UnknownKind
from events.delivery.channel_operations import NothingToRotate
from events.parameters import WrongParameters
from postgres.errors import is_outage
from registry.api import router as registry_router
from registry.api import watchers as watchers_router
from workspaces.access.api_keys import InvalidKey, UnknownKey
from workspaces.access.authentication import challenge
from workspaces.access.errors import MOST_PROBLEMS, RequestRefused, field_message
from workspaces.access.secret_sets import SetInUse, UnknownSet
from workspaces.api import edits, logs, tokens, usage  # noqa: F401 (they add routes)
from workspaces.api.api_keys import router as api_keys_router
from workspaces.api.diagnosis import deadlines, incidents, launches
from workspaces.api.preflight import of_requests as preflight_router
from workspaces.api.router import router as workspaces_router
from workspaces.api.routes import templates as templates_router
from workspaces.api.secret_sets import secret_sets as secret_sets_router
from workspaces.api.secrets import UnknownSecret
from workspaces.api.secrets import global_secrets as global_secrets_router
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.services.core.agent_tokens import UnknownToken
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import TreeChanged
from workspaces.services.stopping.remove import HasChildren
from workspaces.services.watching.mass_lateness import UnknownIncident

logger = logging.getLogger(__name__)

_MOST_SENTENCES = 5


api = DescribedAPI(
    title="Slipway",
    urls_namespace="api",
    openapi_url="/api/openapi.json",
    docs_url="/api/docs",
    docs_decorator=lambda page: reading(staff_member_required(page)),
    parser=JsonParser(),
    renderer=JsonRenderer(),
)
# Before what could be a workspace's ID.
api.add_router("/workspaces/preflight", preflight_router)
api.add_router("/workspaces", workspaces_router)
api.add_router("/settings/secrets", global_secrets_router)
api.add_router("/settings/deadlines", deadlines.router)
api.add_router("/settings/secret-sets", secret_sets_router)
api.add_router("/api-keys", api_keys_router)
api.add_router("/templates", templates_router)
api.add_router("/launches", launches.router)
api.add_router("/incidents", incidents.router)
api.add_router("/channels", channels.router)
api.add_router("/registry", registry_router)
api.add_router("/admin/workspaces", watchers_router)
# Without a workspace in the path, it is nobody's own.
api.add_router("/events", events_router, auth=READ_OWN_EVENTS)
events_router.add_decorator(of_known_workspaces, mode="operation")
# Agents and watchers may send what this version doesn't know.
for _router in (
    *(preflight_router, workspaces_router, global_secrets_router, deadlines.router, secret_sets_router),
    *(api_keys_router, templates_router, launches.router, incidents.router, channels.router, events_router),
):
    _router.add_decorator(refusing_unknown_parameters, mode="operation")


def respond(request: HttpRequest, status: HTTPStatus, error: str, *, code: str, **more: Any) -> HttpResponse:
    """Return an error as `{"error", "code", "fields"?}`. Empty values are left out."""
    given = {name: value for name, value in more.items() if value}
    response = api.create_response(request, {"error": error, "code": code, **given}, status=status)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = challenge(code)
    return response


def error_handler(status: HTTPStatus, code: str, error: str = "") -> Callable[..., HttpResponse]:
    """Return a handler that answers with this status, code and error. Default: the text of the exception."""

    def handler(request: HttpRequest, exception: Exception) -> HttpResponse:
        return respond(request, status, error or str(exception), code=code)

    return handler


def request_refused(request: HttpRequest, error: RequestRefused) -> HttpResponse:
    return respond(request, error.status, str(error), code=error.code, fields=error.fields)


def body_too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return request_refused(request, too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE))


def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    # Ninja turns whatever its parser raises into a 400.
    if isinstance(error.__cause__, RequestRefused):
        return request_refused(request, error.__cause__)
    if isinstance(error.__cause__, RequestDataTooBig):
        return body_too_large(request, error.__cause__)
    status = HTTPStatus(error.status_code)
    return respond(request, status, str(error), code=code_of(status))


def invalid_parameters(request: HttpRequest, invalid: ValidationError) -> HttpResponse:
    sources = {error["loc"][0] for error in invalid.errors}
    if "body" in sources and not request.body:
        return respond(request, HTTPStatus.BAD_REQUEST, "The body is empty. Send a JSON object.", code="bad_json")
    fields = {}
    for error in invalid.errors:
        # ("body", "body", "labels", "team"): the source, the view's parameter, then the field. Or without the second:
        # ("query", "limit"), but ("query", "wanted", "status", 0).
        has_parameter = error["loc"][0] == "body" or len(error["loc"]) > 2
        path = error["loc"][2:] if has_parameter else error["loc"][1:]
        fields[".".join(map(str, path))[:200] or "body"] = field_message(error["msg"])
    shown = dict(list(fields.items())[:MOST_PROBLEMS])
    if "path" in sources:
        return respond(request, HTTPStatus.NOT_FOUND, "There is nothing with this ID.", code="not_found", fields=shown)
    sentences = [f"{name}: {reason}" for name, reason in list(fields.items())[:_MOST_SENTENCES]]
    if more := len(fields) - len(sentences):
        sentences.append(f"And {more} more.")
    text = " ".join(sentences)
    return respond(request, HTTPStatus.UNPROCESSABLE_ENTITY, text, code="validation_error", fields=shown)


def transition_refused(request: HttpRequest, error: TransitionRefused) -> HttpResponse:
    status = str(error.workspace.status)
    if status == WorkspaceStatus.REMOVED:
        return respond(request, HTTPStatus.GONE, str(error), code="removed", workspace_status=status)
    return respond(request, HTTPStatus.CONFLICT, str(error), code="transition_refused", workspace_status=status)


def invalid_fields(request: HttpRequest, error: InvalidWorkspace | InvalidChannel | WrongParameters) -> HttpResponse:
    problems = [each.as_json() for each in error.problems] if isinstance(error, InvalidWorkspace) else []
    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "validation_error"
    return respond(request, status, str(error), code=code, fields=error.fields, problems=problems)


def invalid_key(request: HttpRequest, error: InvalidKey) -> HttpResponse:
    text = f"{error.field}: {error}"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return respond(request, status, text, code="validation_error", fields={error.field: str(error)})


def has_children(request: HttpRequest, error: HasChildren) -> HttpResponse:
    children = [{"id": child_id, "name": name} for child_id, name in error.children]
    return respond(request, HTTPStatus.CONFLICT, str(error), code="has_children", children=children)


def set_in_use(request: HttpRequest, error: SetInUse) -> HttpResponse:
    users = [{"id": workspace.pk, "name": workspace.name} for workspace in error.workspaces]
    return respond(request, HTTPStatus.CONFLICT, str(error), code="secret_set_in_use", workspaces=users)


def database_error(request: HttpRequest, error: Exception) -> HttpResponse:
    return unavailable(request, error) if is_outage(error) else unexpected(request, error)


def unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    logger.error("A request failed unexpectedly", exc_info=error, extra={"path": request.path})
    text = "Something went wrong on the server. The error was logged."
    return respond(request, HTTPStatus.INTERNAL_SERVER_ERROR, text, code="internal")


_unreadable = error_handler(HTTPStatus.BAD_REQUEST, "bad_request", "The request can't be read. Send a JSON body.")
# Ninja picks the handler of the closest base class.
HANDLERS: dict[type[Exception], Callable[..., HttpResponse]] = {
    RequestRefused: request_refused,
    RequestDataTooBig: body_too_large,
    HttpError: http_error,
    ValidationError: invalid_parameters,
    UnknownWorkspace: error_handler(HTTPStatus.NOT_FOUND, "not_found"),
    UnknownKey: error_handler(HTTPStatus.NOT_FOUND, "not_found"),
    InvalidKey: invalid_key,
    UnknownToken: error_handler(HTTPStatus.NOT_FOUND, "not_found"),
    UnknownIncident: error_handler(HTTPStatus.CONFLICT, "holds_nothing"),
    UnknownSet: error_handler(HTTPStatus.NOT_FOUND, "not_found"),
    SetInUse: set_in_use,
    UnknownSecret: error_handler(HTTPStatus.NOT_FOUND, "not_found"),
    TransitionRefused: transition_refused,
    TreeChanged: error_handler(HTTPStatus.CONFLICT, "tree_unsteady"),
    InvalidWorkspace: invalid_fields,
    InvalidChannel: invalid_fields,
    WrongParameters: invalid_fields,
    UnknownKind: error_handler(HTTPStatus.CONFLICT, "unknown_kind"),
    NothingToRotate: error_handler(HTTPStatus.CONFLICT, "nothing_to_rotate"),
    # Of a call that reads a channel's encrypted options; a test shows its result in the answer.
    SendFailed: error_handler(HTTPStatus.CONFLICT, "secret_unreadable"),
    HasChildren: has_children,
    Http404: error_handler(HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this address."),
    # It was deleted after the call had found it.
    ObjectDoesNotExist: error_handler(HTTPStatus.NOT_FOUND, "not_found", "There is nothing with this ID any more."),
    SuspiciousOperation: _unreadable,
    RawPostDataException: _unreadable,
    MultiPartParserError: _unreadable,
    UnreadablePostError: _unreadable,
    DatabaseError: database_error,
    InterfaceError: database_error,
    Exception: unexpected,
}
for _error_class, _handler in HANDLERS.items():
    api.add_exception_handler(_error_class, _handler)


def answering_errors(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return a view outside of Ninja whose exceptions are answered as those of the API's."""

    @wraps(view)
    def answer(request: HttpRequest, **parameters: Any) -> HttpResponse:
        try:
            check_size(request)
            return view(request, **parameters)
        except Exception as error:  # noqa: BLE001 (Ninja's handlers tell them apart)
            return api.on_exception(request, error)

    return answer
