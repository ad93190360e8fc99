"""Reads a request's body as JSON, and bounds it: its bytes, its depth, and what its texts and numbers may hold."""

import json
import math
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.parser import Parser

from workspaces.access.errors import RequestRefused

MAX_DEPTH = 64
# Logs are taken as they come: what stores them removes NULs, and replaces what is no character.
_LOGS = frozenset({"log_tail"})


class JsonParser(Parser):
    """Ninja's parser, but strict. Ninja wraps what it raises; see `refuse_body` in api.py."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body's value. Raises Refusal."""
        return read_json(request.body)


def read_json(body: bytes) -> Any:
    """Return the value of a JSON body that Postgres can hold. Raises Refusal: 413, 400 or 422."""
    if len(body) > settings.MAX_BODY_BYTES:
        raise too_large()
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        reason = "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {reason}.", code="bad_json") from None
    _check(value)
    return value


def too_large() -> RequestRefused:
    """Return the refusal of a body that is over the limit."""
    limit = settings.MAX_BODY_BYTES // 1024
    return RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} KiB.", code="too_large"
    )


def _too_deep() -> RequestRefused:
    error = f"The body is nested deeper than {MAX_DEPTH} levels."
    return RequestRefused(HTTPStatus.BAD_REQUEST, error, code="too_deep")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check(root: Any) -> None:
    # Without recursion: a hostile body mustn't choose how deep our stack gets.
    waiting: list[tuple[str, int, Any]] = [("", 0, root)]
    while waiting:
        path, depth, value = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep()
        if isinstance(value, dict | list):
            waiting.extend((place, depth + 1, item) for place, item in _items(path, value))
        elif reason := _unusable(value) if path not in _LOGS else "":
            raise _unusable_field(path, reason)


def _items(path: str, value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        return ((f"{path}[{index}]", item) for index, item in enumerate(value))
    for key in value:
        if reason := _unusable(key):
            raise _unusable_field(path, f"has a key that {reason}")
    return ((f"{path}.{key}" if path else key, item) for key, item in value.items())


def _unusable(value: Any) -> str:
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half of a surrogate pair, which is no character"
    if isinstance(value, str) and "\0" in value:
        return "holds a NUL character"
    if isinstance(value, float) and not math.isfinite(value):
        return "is a number too large to be kept"
    return ""


def _unusable_field(path: str, reason: str) -> RequestRefused:
    name = path[:200] or "body"
    sentence = f"{name} {reason}."
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, sentence, code="validation_error", fields={name: sentence})
