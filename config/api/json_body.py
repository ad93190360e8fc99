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
from registry.report_body import MAX_DEPTH, read_integer, read_report
from workspaces.access.browser_forms import form_fields
from workspaces.access.errors import MOST_PROBLEMS, RequestRefused

# Reports of agents and watchers: what they can't hold is mended field by field (registry/schemas.py).
_REPORT = re.compile(r"/registry/[\w-]+|/admin/workspaces/[^/]+/bootstrap-failed")


class JsonParser(Parser):
    """Ninja's parser, but strict. Ninja wraps what it raises in an HttpError; ninja_api.py unwraps it."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body's value. Raises RequestRefused."""
        check_size(request)
        if _REPORT.fullmatch(request.path_info):
            return read_report(request.body)
        if form_fields(request) is not None and request.body:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "The body is a form. Send a JSON object.", code="bad_json")
        return read_json(request.body)


class Constant(str):
    """NaN, Infinity or -Infinity, which Python's parser accepts. It is refused once its place is known."""


class RepeatedFields(dict[str, Any]):
    """A JSON object that has fields twice. It is refused once its place is known."""

    repeated: list[str]


def read_json(body: bytes) -> Any:
    """Return the value of a JSON body. Raises RequestRefused with status 400 or 422."""
    try:
        value = json.loads(body.decode(), parse_constant=Constant, parse_int=read_integer, object_pairs_hook=object_of)
    except RecursionError:
        raise _too_deep(()) from None
    except ValueError as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {reason}.", code="bad_json") from None
    check_value(value)
    return value


def check_value(value: Any, path: tuple[str | int, ...] = ()) -> None:
    """Raise RequestRefused for a value that is nested too deep, ambiguous, or that Postgres can't store.

    `path` has the keys and indexes that lead to the value; the refusal names the place.
    """
    if len(path) > MAX_DEPTH:
        raise _too_deep(path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_value(item, (*path, index))
    elif isinstance(value, dict):
        if isinstance(value, RepeatedFields):
            raise _repeated(value, path)
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


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, as RepeatedFields if it has a field twice: which one is meant is not known."""
    value = dict(pairs)
    if len(value) < len(pairs):
        value = RepeatedFields(value)
        counted = Counter(name for name, _ in pairs)
        value.repeated = list(islice((name for name, times in counted.items() if times > 1), MOST_PROBLEMS))
    return value


def _too_deep(path: tuple[str | int, ...]) -> RequestRefused:
    message = f"The body is nested deeper than {MAX_DEPTH} levels."
    return RequestRefused(HTTPStatus.BAD_REQUEST, message, code="too_deep", fields={_field(path): message})


def _repeated(value: RepeatedFields, path: tuple[str | int, ...]) -> RequestRefused:
    fields = {_field((*path, name)): "This field is given more than once." for name in value.repeated}
    message = " ".join(f"{name}: {why}" for name, why in fields.items())
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, message, code="validation_error", fields=fields)


def _field(path: tuple[str | int, ...]) -> str:
    """Return the path to a value as answers show it: `config[1].args`."""
    # Not before something is wrong: the paths to many items below a long key take many times the memory of the body.
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    # A key may hold halves of surrogate pairs.
    return "".join(steps).removeprefix(".")[:200].encode(errors="replace").decode() or "body"


def _check(path: tuple[str | int, ...], value: Any, *, prefix: str = "") -> None:
    """Raise RequestRefused if a text or number is no JSON, or nothing that Postgres can store."""
    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "validation_error"
    if isinstance(value, Constant):
        status, code, reason = HTTPStatus.BAD_REQUEST, "bad_json", f"is {value}, which is not JSON"
    elif isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
        reason = "holds half of a surrogate pair, which is not a character"
    elif isinstance(value, str) and "\0" in value:
        reason = "holds a NUL character"
    elif isinstance(value, float) and not math.isfinite(value):
        reason = "is a number too large to be stored"
    else:
        return
    field = _field(path)
    message = f"{field} {prefix}{reason}."
    raise RequestRefused(status, message, code=code, fields={field: message})
