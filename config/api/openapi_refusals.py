"""The refusals of the API in its description: their shape, what they mean, and which calls they answer."""

import re
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from postgres.enum_text import one_of
from workspaces.api.schemas import WorkspaceNameOut
from workspaces.configuration.diagnostics import DiagnosticOut
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.operations import OPERATIONS

ANY_CALL = r".*"
EDITS = r"PATCH /workspaces/\{workspace_id\}(?:/budget)?"
# The calls that honour If-Match: those that change what has an ETag.
CONDITIONAL = "|".join(
    [EDITS, *(f"{each.method} /workspaces{re.escape(each.api_path)}" for each in OPERATIONS if not each.is_admin_only)]
)
_CHANGE = r"(?!GET ).*"
_LOGS = r"GET /workspaces/\{workspace_id\}/logs"
_TOO_LONG = "Try again in 12 seconds."


# The codes that a refusal may have, by its status. docs/reference/api.md says what they mean.
CODES: dict[int, tuple[str, ...]] = {
    400: ("bad_json", "too_deep", "bad_request", "bad_host"),
    401: ("unauthorized", "superseded", "expired"),
    403: ("forbidden", "forbidden_address", "csrf"),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("too_slow",),
    409: (
        *("transition_refused", "has_children", "tree_unsteady", "holds_nothing", "secret_set_in_use"),
        *("unknown_kind", "nothing_to_rotate", "secret_unreadable", "log_undivided", "log_dropped"),
    ),
    410: ("removed",),
    412: ("changed",),
    413: ("too_large",),
    422: ("validation_error", "idempotency_key_reused"),
    429: ("rate_limited", "throttled"),
    500: ("internal",),
    501: ("needs_asgi",),
    503: ("unavailable",),
}
_EVERY_CODE = sorted({code for codes in CODES.values() for code in codes})


class Error(TypedDict):
    """Why a call was refused. Nothing was changed."""

    error: Annotated[str, Field(description="A sentence for people.")]
    # No closed enumeration: a client that was generated before a code was added has to be able to read it.
    code: Annotated[
        str, Field(description="What programs tell refusals apart by.", json_schema_extra={"x-codes": [*_EVERY_CODE]})
    ]
    fields: NotRequired[Annotated[dict[str, str], Field(description="Why each of these fields is wrong.")]]
    workspace_status: NotRequired[
        Annotated[str, one_of(WorkspaceStatus), Field(description="The present status, if it doesn't allow the call.")]
    ]
    children: NotRequired[Annotated[list[WorkspaceNameOut], Field(description="What would be removed, too.")]]
    workspaces: NotRequired[Annotated[list[WorkspaceNameOut], Field(description="What uses it.")]]
    problems: NotRequired[Annotated[list[DiagnosticOut], Field(description="What is wrong in the configuration.")]]


# Each refusal: its description, an example, and the calls that it answers, as `METHOD /path`.
REFUSALS: dict[int, tuple[str, dict[str, Any], str]] = {
    400: (
        "The request can't be read.",
        {"error": "The body is empty. Send a JSON object.", "code": "bad_json"},
        ANY_CALL,
    ),
    401: (
        "The credential is missing, unknown or revoked, or of an earlier launch.",
        {"error": "This credential is unknown or was revoked.", "code": "unauthorized"},
        ANY_CALL,
    ),
    403: (
        "The credential may not do this.",
        {"error": "This API key lacks the scope `operate`.", "code": "forbidden"},
        ANY_CALL,
    ),
    404: (
        "There is nothing with this ID.",
        {"error": "There is nothing with this ID.", "code": "not_found"},
        rf".*\{{.*|GET /settings/deadlines|{_CHANGE}",
    ),
    405: (
        "The address has no call of this method. The header Allow names those that it has.",
        {"error": "This address does not accept this method. See the Allow header.", "code": "method_not_allowed"},
        # What answers it is no call.
        "",
    ),
    408: (
        "The body came too slowly.",
        {"error": "The body did not arrive within 20 seconds.", "code": "too_slow"},
        ANY_CALL,
    ),
    409: (
        "The present status doesn't allow this.",
        {"error": "w is paused.", "code": "transition_refused", "workspace_status": WorkspaceStatus.PAUSED},
        rf"{_CHANGE}|{_LOGS}",
    ),
    410: (
        "The workspace was removed, or that of the agent whose token it is.",
        {"error": "This workspace was removed.", "code": WorkspaceStatus.REMOVED},
        ANY_CALL,
    ),
    412: (
        "It changed since it was read.",
        {"error": 'w has changed since you read it: its ETag is "9f86d081884c7d659a2f" now.', "code": "changed"},
        CONDITIONAL,
    ),
    413: ("The body is too large.", {"error": "The body is larger than 1024 KiB.", "code": "too_large"}, ANY_CALL),
    422: (
        "A field or parameter is wrong.",
        {
            "error": "labls: There is no such field. Did you mean labels?",
            "code": "validation_error",
            "fields": {"labls": "There is no such field. Did you mean labels?"},
        },
        ANY_CALL,
    ),
    429: (
        "Too many calls, or too many wrong credentials from this address.",
        {"error": f"This credential made more than 300 calls in 60 seconds. {_TOO_LONG}", "code": "rate_limited"},
        ANY_CALL,
    ),
    500: (
        "An error of the server, which was logged.",
        {"error": "Something went wrong on the server. The error was logged.", "code": "internal"},
        ANY_CALL,
    ),
    501: (
        "This server can't do it.",
        {"error": "Following a log needs the ASGI server, and this one speaks WSGI.", "code": "needs_asgi"},
        _LOGS,
    ),
    503: (
        "It can't be done now.",
        {"error": "The database can't be used right now. Try again in a few seconds.", "code": "unavailable"},
        ANY_CALL,
    ),
}
