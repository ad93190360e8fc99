"""The API's description in OpenAPI 3.1: Ninja's, and what Ninja can't know.

That is the heartbeat, which Ninja doesn't serve, what the views answer, who may call, headers, refusals and examples.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from inspect import signature
from typing import Any, get_args, get_origin

from django.conf import settings
from django.http import HttpResponse
from ninja import NinjaAPI, Status
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.utils import normalize_path
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from config.api.openapi_examples import ANSWERS, LOG, REQUESTS
from config.api.openapi_refusals import ANY_CALL, CODES, CONDITIONAL, EDITS, REFUSALS, Error
from registry.heartbeat import heartbeat
from registry.schemas import HeardOut, HeartbeatIn
from workspaces.api.idempotency import MAX_KEY_CHARACTERS

_SCHEMAS = "#/components/schemas/{model}"
_ERROR = {"$ref": _SCHEMAS.format(model="Error")}
_ONCE = (
    r"(?:POST|DELETE) /workspaces(?:/\{workspace_id\}(?:/[a-z]+)?)?|POST /channels(?:/\{channel_id\}/rotate)?"
    r"|POST /api-keys"
)
_DISCOVER = r"GET /registry/discover/\{workspace_id\}"
_TEXT, _INTEGER = {"type": "string"}, {"type": "integer"}
# The headers of calls: which calls, whether it is required, its schema, and what it does.
REQUEST_HEADERS: dict[str, tuple[str, bool, dict[str, Any], str]] = {
    "Idempotency-Key": (
        _ONCE,
        False,
        {"type": "string", "pattern": r"\S", "maxLength": MAX_KEY_CHARACTERS},
        "A request that is repeated with the same key within 24 hours is done once.",
    ),
    "If-Match": (
        CONDITIONAL,
        False,
        _TEXT,
        "An ETag of the workspace: do it only if nobody has changed the workspace since; otherwise 412.",
    ),
    "X-Workspace-ID": (_DISCOVER, True, {"type": "string", "format": "uuid"}, "The ID of the workspace that asks."),
}
# The headers of answers: the calls that it may come from, if they succeed; its schema; what it says.
ANSWER_HEADERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "RateLimit-Policy": (
        ANY_CALL,
        _TEXT,
        'How many calls a credential may make in how many seconds: `"agents";q=300;w=60`.',
    ),
    "RateLimit": (ANY_CALL, _TEXT, 'How many calls are left, and for how many seconds: `"agents";r=299;t=60`.'),
    "ETag": (
        rf"GET /workspaces/\{{workspace_id\}}(?:/budget)?|{EDITS}",
        _TEXT,
        "Changes with the status and with the fields that operators change. Send it as `If-Match`.",
    ),
    "X-Position": (
        r"GET /workspaces(?:/\{workspace_id\})?",
        _INTEGER,
        "The position in the event log that the answer reflects, to continue from with a stream.",
    ),
    "Link": (
        # Of each call that takes a cursor.
        "",
        _TEXT,
        'The address of the next page: `<…>; rel="next"`. The last page has none.',
    ),
    "Idempotent-Replayed": (_ONCE, _TEXT, "`true` if this is the answer to an earlier request with the same key."),
    "Retry-After": ("", _INTEGER, "After how many seconds to try again."),
    "Allow": ("", _TEXT, "The methods of the address."),
    "WWW-Authenticate": ("", _TEXT, "`Bearer`, and whether the credential was valid once."),
}
# What every refusal may have, and what only some have.
_RATES = ("RateLimit-Policy", "RateLimit")
_OF_STATUS = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}


class Description(OpenAPISchema):
    """Ninja's description of the API, with what the views answer: their types, which Ninja doesn't look at."""

    def __init__(self, api: NinjaAPI, path_prefix: str) -> None:
        # By the name of the view and the status.
        self.answers: dict[tuple[str, int], TypeAdapter[Any]] = {("heartbeat", 200): TypeAdapter(HeardOut)}
        super().__init__(api, path_prefix)

    def responses(self, operation: Operation) -> dict[int, dict[str, Any]]:
        """Return the answers of an operation and keep their types; see workspaces.api.router.answering."""
        view = operation.view_func
        returned = signature(view).return_annotation
        if returned is HttpResponse:
            content = {kind: {"schema": _TEXT, "example": text} for kind, text in LOG.items()}
            return {200: {"description": "OK", "content": content}}
        if get_origin(returned) is Status:
            [returned] = get_args(returned)
        answers = getattr(view, "answers", {HTTPStatus.OK: returned})
        self.answers |= {(view.__name__, int(status)): TypeAdapter(answer) for status, answer in answers.items()}
        return {int(status): {"description": HTTPStatus(status).phrase} for status in answers}

    def add_contents(self) -> None:
        """Add the schema and an example of each answer, and all schemas that they refer to."""
        mode: JsonSchemaMode = "serialization"
        inputs = [(key, mode, adapter) for key, adapter in self.answers.items()]
        inputs.append((("", 0), mode, TypeAdapter(Error)))
        schemas, definitions = TypeAdapter.json_schemas(inputs, ref_template=_SCHEMAS)
        self["components"]["schemas"] |= definitions["$defs"]
        for call in (call for calls in self["paths"].values() for call in calls.values()):
            name = call["operationId"]
            for status, response in call["responses"].items():
                if (name, status) not in self.answers:
                    continue
                schema, example = schemas[(name, status), mode], ANSWERS[name]
                if status in REFUSALS:
                    # The view's own, or that of an error.
                    schema, example = {"anyOf": [schema, _ERROR]}, ANSWERS[f"{name} {status}"]
                response["content"] = {"application/json": {"schema": schema, "example": example}}


class DescribedAPI(NinjaAPI):
    """Ninja's API with a whole description."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the name of the view, which stays when its module is moved."""
        return operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Return the description of every call."""
        prefix = self.get_root_path(path_params or {}) if path_prefix is None else path_prefix
        schema = Description(self, prefix)
        schema["paths"][normalize_path(f"/{prefix}/registry/heartbeat")] = {"post": heartbeat_call()}
        schema.add_contents()
        components = schema["components"]
        body = HeartbeatIn.model_json_schema(ref_template=_SCHEMAS)
        components["schemas"] |= {**body.pop("$defs", {}), "HeartbeatIn": body}
        components["headers"] = {
            name: {"description": description, "schema": kind}
            for name, (_, kind, description) in ANSWER_HEADERS.items()
        }
        components["responses"] = {f"Refused{status}": refusal(status) for status in REFUSALS}
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or an agent's token."},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": settings.SESSION_COOKIE_NAME,
                "description": "A session of the admin; changes need the header X-CSRFToken as well.",
            },
        }
        for path, calls in schema["paths"].items():
            for method, call in calls.items():
                own_path = "/" + path.removeprefix(f"/{prefix}".rstrip("/")).lstrip("/")
                complete(call, f"{method.upper()} {own_path}")
        return schema


def heartbeat_call() -> dict[str, Any]:
    """Return the description of POST /registry/heartbeat."""
    reference = {"schema": {"$ref": _SCHEMAS.format(model="HeartbeatIn")}}
    return {
        "operationId": "heartbeat",
        "summary": "Heartbeat",
        "description": heartbeat.__doc__,
        "tags": ["registry"],
        "parameters": [],
        "requestBody": {"content": {"application/json": reference}, "required": True},
        "responses": {200: {"description": "OK"}},
    }


def complete(call: dict[str, Any], name: str) -> None:
    """Add to a call, `METHOD /path`, who may make it, its headers, its refusals and its example."""
    is_of_agents = " /registry/" in name
    call["security"] = [{"bearer": []}] if is_of_agents else [{"bearer": []}, {"session": []}]
    call["parameters"] += [
        {"in": "header", "name": header, "required": is_required, "schema": kind, "description": description}
        for header, (calls, is_required, kind, description) in REQUEST_HEADERS.items()
        if re.fullmatch(calls, name)
    ]
    own = tuple(header for header, (calls, *_) in ANSWER_HEADERS.items() if re.fullmatch(calls, name))
    if any(parameter["name"] == "cursor" for parameter in call["parameters"]):
        own += ("Link",)
    for status, response in call["responses"].items():
        response["headers"] = references_to((*own, *_OF_STATUS.get(status, ())))
    for status, (_, _, calls) in REFUSALS.items():
        if re.fullmatch(calls, name):
            call["responses"].setdefault(status, {"$ref": f"#/components/responses/Refused{status}"})
    if "requestBody" in call and call["operationId"] in REQUESTS:
        call["requestBody"]["content"]["application/json"]["example"] = REQUESTS[call["operationId"]]


def refusal(status: int) -> dict[str, Any]:
    """Return the description of a refusal, with its example."""
    description, example, _ = REFUSALS[status]
    headers = references_to((*_RATES, *_OF_STATUS.get(status, ())))
    content = {"application/json": {"schema": _ERROR, "example": example}}
    # A schema of its own would give generated clients a class for each call and status.
    return {"description": description, "headers": headers, "content": content, "x-codes": list(CODES[status])}


def references_to(headers: Iterable[str]) -> dict[str, Any]:
    """Return the headers as references to their descriptions."""
    return {header: {"$ref": f"#/components/headers/{header}"} for header in headers}
