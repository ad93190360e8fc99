"""Reads request bodies as JSON. Limits their size and depth, and refuses values that Postgres can't store."""

import json
import math
import re
from collections import Counter
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from config.entry import bodies
from registry.report_body import MAX_DEPTH, read_report
from workspaces.access.errors import MOST_PROBLEMS, RequestRefused

# Reports of agents and watchers: what they can't hold is mended field by field (registry/schemas.py).
_REPORT = re.compile(r"/registry/\w+|/admin/workspaces/[^/]+/bootstrap-failed")


class JsonParser(Parser):
    """Ninja's parser, but strict. Ninja wraps what it raises in an HttpError; ninja_api.py unwraps it."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body's value. Raises RequestRefused."""
        check_size(request)
        return read_report(request.body) if _REPORT.fullmatch(request.path_info) else read_json(request.body)


def read_json(body: bytes) -> Any:
    """Return the value of a JSON body. Raises RequestRefused with status 400 or 422."""
    try:
        value = json.loads(body.decode(), parse_constant=refuse_constant, object_pairs_hook=object_of)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {reason}.", code="bad_json") from None
    check_value(value)
    return value


def check_value(value: Any, path: tuple[str | int, ...] = ()) -> None:
    """Raise RequestRefused for a value that is nested too deep, or that holds what Postgres can't store.

    `path` has the keys and indexes that lead to the value.
    """
    if len(path) > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_value(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(path, key, prefix="has a key that ")
            check_value(item, (*path, key))
    else:
        _check(path, value)


def check_size(request: HttpRequest) -> None:
    """Raise RequestRefused if the body is over the limit, as the entry does where it stands before Django."""
    limit = bodies.limit_of(request.path_info)
    if len(request.body) > limit:
        raise too_large(limit)


def too_large(limit: int) -> RequestRefused:
    """Return the error for a body that is over the limit, in bytes."""
    refused = bodies.too_large(limit)
    return RequestRefused(refused.status, str(refused), code="too_large")


def _too_deep() -> RequestRefused:
    message = f"The body is nested deeper than {MAX_DEPTH} levels."
    return RequestRefused(HTTPStatus.BAD_REQUEST, message, code="too_deep")


def refuse_constant(name: str) -> None:
    """Raise ValueError for NaN and Infinity, which Python's parser accepts."""
    raise ValueError(f"{name} is not a JSON number")


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises RequestRefused if it has a field twice: which one is meant is not known."""
    value = dict(pairs)
    if len(value) < len(pairs):
        counted = Counter(name for name, _ in pairs)
        repeated = islice((name for name, times in counted.items() if times > 1), MOST_PROBLEMS)
        fields = {name[:200]: "This field is given more than once." for name in repeated}
        message = " ".join(f"{name}: {why}" for name, why in fields.items())
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, message, code="validation_error", fields=fields)
    return value


def _check(path: tuple[str | int, ...], value: Any, *, prefix: str = "") -> None:
    """Raise RequestRefused if Postgres can't store a text or number."""
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        reason = "holds half of a surrogate pair, which is not a character"
    elif isinstance(value, str) and "\0" in value:
        reason = "holds a NUL character"
    elif isinstance(value, float) and not math.isfinite(value):
        reason = "is a number too large to be stored"
    else:
        return
    # Only now: as texts, the paths to many items below a long key take many times the memory of the body.
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    field = "".join(steps).removeprefix(".")[:200] or "body"
    message = f"{field} {prefix}{reason}."
    raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, message, code="validation_error", fields={field: message})
