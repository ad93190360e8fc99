"""Lets the operators' calls refuse query parameters that they don't have."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest

from events.parameters import check_parameters


def refusing_unknown_parameters(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a view of Ninja's that raises UnknownParameters for what it doesn't declare, before it does anything."""
    models = view._ninja_operation.models  # type: ignore[attr-defined]
    in_query = [model for model in models if model.__ninja_param_source__ == "query"]
    known = [name for model in in_query for name in model.__ninja_flatten_map__]

    @wraps(view)
    def checked(request: HttpRequest, **parameters: Any) -> Any:
        check_parameters(request.GET, known)
        return view(request, **parameters)

    return checked
