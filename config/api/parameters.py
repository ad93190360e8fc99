"""Lets the operators' calls refuse what they don't have: parameters, and fields of a body that they don't read."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from django.http import HttpRequest

from config.api.json_body import JsonParser
from events.parameters import WrongParameters, check_parameters, unknown
from workspaces.access.browser_forms import form_fields


def refusing_unknown_parameters(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a view of Ninja's that raises WrongParameters for what it doesn't declare, before it does anything."""
    models = view._ninja_operation.models  # type: ignore[attr-defined]
    in_query = [model for model in models if model.__ninja_param_source__ == "query"]
    known = [name for model in in_query for name in model.__ninja_flatten_map__]
    lists = {name for model in in_query for name in model.__ninja_collection_fields__}
    honours_if_match = getattr(view, "honours_if_match", False)
    has_body = any(model.__ninja_param_source__ == "body" for model in models)

    @wraps(view)
    def checked(request: HttpRequest, **parameters: Any) -> Any:
        check_parameters(request.GET, known, repeatable=lists)
        # In a GET it has no meaning. Elsewhere who sends it relies on it.
        if "If-Match" in request.headers and request.method != "GET" and not honours_if_match:
            why = "This call does not compare ETags. Send it without If-Match."
            raise WrongParameters({"If-Match": why})
        # In a GET a body has no meaning, whatever it holds.
        if not has_body and request.method != "GET":
            check_unread_body(request, known)
        return view(request, **parameters)

    return checked


def check_unread_body(request: HttpRequest, parameters: Collection[str]) -> None:
    """Raise WrongParameters if a call that reads no body gets one that asks for something.

    `{"force": true}` would otherwise do the same as nothing. An empty object, null and an empty form ask for nothing.
    Raises RequestRefused if the body is neither JSON nor such a form.
    """
    body: Any = None
    # Kept for those who read it later: Django keeps no body that it parses as a multipart form.
    raw = request.body
    fields = form_fields(request)
    if fields is not None:
        body = dict.fromkeys(fields)
    elif request.content_type == "multipart/form-data":
        body = "a form" if raw else None
    elif raw:
        body = JsonParser().parse_body(request)
    if isinstance(body, dict):
        if problems := unknown(body, parameters, what="field", nearest="the parameter "):
            raise WrongParameters(problems)
    elif body is not None:
        raise WrongParameters({"body": "This call reads no body. Send none."})
