"""The API's description in OpenAPI 3.1: Ninja's, and what Ninja can't know.

That is the heartbeat, which Ninja doesn't serve, who may call, the headers that a call takes, refusals and examples.
"""

import re
from typing import Any

from django.conf import settings
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.utils import normalize_path

from config.api.openapi_examples import REQUESTS
from registry.heartbeat import heartbeat
from registry.schemas import HeartbeatIn
from workspaces.lifecycle.transitions import WorkspaceStatus

_REFERENCES = "#/components/schemas/{model}"

ERROR = {
    "title": "Error",
    "description": "Why a call was refused. Nothing was changed.",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "What programs tell refusals apart by."},
        "fields": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Why each of these fields is wrong.",
        },
        "workspace_status": {"type": "string", "description": "The present status, if it doesn't allow the call."},
        "children": {"type": "array", "items": {"type": "object"}, "description": "What would be removed, too."},
    },
}
# Each refusal: its description, an example, and the calls that it answers, as `METHOD /path`.
_ANY, _CHANGE = r".*", r"(?!GET ).*"
_CONDITIONAL = r"PATCH /workspaces/\{workspace_id\}(?:/budget)?"
_TOO_LONG = "Try again in 12 seconds."
REFUSALS: dict[int, tuple[str, dict[str, Any], str]] = {
    400: ("The request can't be read.", {"error": "The body is empty. Send a JSON object.", "code": "bad_json"}, _ANY),
    401: (
        "The credential is missing, unknown or revoked, or of an earlier launch.",
        {"error": "This credential is unknown or was revoked.", "code": "unauthorized"},
        _ANY,
    ),
    403: (
        "The credential may not do this.",
        {"error": "This API key lacks the scope `operate`.", "code": "forbidden"},
        _ANY,
    ),
    404: (
        "There is nothing with this ID.",
        {"error": "There is nothing with this ID.", "code": "not_found"},
        rf".*\{{.*|GET /settings/deadlines|{_CHANGE}",
    ),
    408: (
        "The body came too slowly.",
        {"error": "The body did not arrive within 20 seconds.", "code": "too_slow"},
        _CHANGE,
    ),
    409: (
        "The present status doesn't allow this.",
        {"error": "w is paused.", "code": "transition_refused", "workspace_status": WorkspaceStatus.PAUSED},
        _CHANGE,
    ),
    410: (
        "The workspace was removed.",
        {"error": "This workspace was removed.", "code": WorkspaceStatus.REMOVED},
        r".*(?:\{workspace_id\}|/registry/).*|POST /workspaces",
    ),
    412: (
        "It changed since it was read.",
        {"error": "It changed since you read it. Read it again.", "code": "changed"},
        _CONDITIONAL,
    ),
    413: ("The body is too large.", {"error": "The body is larger than 1024 KiB.", "code": "too_large"}, _CHANGE),
    422: (
        "A field or parameter is wrong.",
        {
            "error": "labls: There is no such field. Did you mean labels?",
            "code": "validation_error",
            "fields": {"labls": "There is no such field. Did you mean labels?"},
        },
        _ANY,
    ),
    429: (
        "Too many calls, or too many wrong credentials from this address.",
        {"error": f"This credential made more than 300 calls in 60 seconds. {_TOO_LONG}", "code": "rate_limited"},
        _ANY,
    ),
    500: (
        "An error of the server, which was logged.",
        {"error": "Something went wrong on the server. The error was logged.", "code": "internal"},
        _ANY,
    ),
    503: (
        "It can't be done now.",
        {"error": "The database can't be used right now. Try again in a few seconds.", "code": "unavailable"},
        _ANY,
    ),
}
_SECONDS = {"description": "After how many seconds to try again.", "schema": {"type": "integer"}}
_RATES = {
    "RateLimit-Policy": {
        "description": 'How many calls a credential may make in how many seconds: `"agents";q=300;w=60`.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'How many calls are left, and for how many seconds: `"agents";r=299;t=60`.',
        "schema": {"type": "string"},
    },
}
# Headers that a call may have.
HEADERS = {
    "Idempotency-Key": (
        r"(?:POST|DELETE) /workspaces(?:/\{workspace_id\}(?:/[a-z]+)?)?|POST /channels(?:/\{channel_id\}/rotate)?"
        r"|POST /api-keys",
        "A request that is repeated with the same key within 24 hours is done once.",
    ),
    "If-Match": (
        _CONDITIONAL,
        "An ETag: change the workspace only if nobody changed it since; otherwise 412.",
    ),
    "X-Workspace-ID": (r"GET /registry/discover/\{workspace_id\}", "The ID of the workspace that asks. Required."),
}


class DescribedAPI(NinjaAPI):
    """Ninja's API with a whole description."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the name of the view, which stays when its module is moved."""
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the description of every call."""
        schema = super().get_openapi_schema(**options)
        components = schema["components"]
        body = HeartbeatIn.model_json_schema(ref_template=_REFERENCES)
        components["schemas"] |= {**body.pop("$defs", {}), "HeartbeatIn": body, "Error": ERROR}
        components["headers"] = _RATES
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
        schema["paths"][normalize_path(f"/{schema.path_prefix}/registry/heartbeat")] = {"post": heartbeat_call()}
        for path, calls in schema["paths"].items():
            for method, call in calls.items():
                own_path = "/" + path.removeprefix(f"/{schema.path_prefix}".rstrip("/")).lstrip("/")
                complete(call, f"{method.upper()} {own_path}")
        return schema


def heartbeat_call() -> dict[str, Any]:
    """Return the description of POST /registry/heartbeat."""
    reference = {"schema": {"$ref": _REFERENCES.format(model="HeartbeatIn")}}
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
        {"in": "header", "name": header, "required": False, "schema": {"type": "string"}, "description": description}
        for header, (calls, description) in HEADERS.items()
        if re.fullmatch(calls, name)
    ]
    for response in call["responses"].values():
        response["headers"] = {header: {"$ref": f"#/components/headers/{header}"} for header in _RATES}
    for status, (_, _, calls) in REFUSALS.items():
        if re.fullmatch(calls, name):
            call["responses"].setdefault(status, {"$ref": f"#/components/responses/Refused{status}"})
    if "requestBody" in call and call["operationId"] in REQUESTS:
        call["requestBody"]["content"]["application/json"]["example"] = REQUESTS[call["operationId"]]


def refusal(status: int) -> dict[str, Any]:
    """Return the description of a refusal, with its example."""
    description, example, _ = REFUSALS[status]
    content = {"schema": {"$ref": _REFERENCES.format(model="Error")}, "example": example}
    headers: dict[str, Any] = {"Retry-After": _SECONDS} if status in {429, 503} else {}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    return {"description": description, "headers": headers, "content": {"application/json": content}}
