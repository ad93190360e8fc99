"""Reads the bodies of reports as far as they can be read: registry/schemas.py mends what they hold, field by field."""

import json
import re
from http import HTTPStatus
from typing import Any

from agent import texts
from workspaces.access.errors import RequestRefused

# What mend_values leaves of a value.
MAX_DEPTH = texts.MAX_DEPTH
# The closing quote may be missing, and nothing is tried twice: a hostile text costs time in proportion to its length.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LONGEST_INTEGER = 400


def read_report(body: bytes) -> Any:
    """Return the value of a JSON body as far as it can be read. Raises RequestRefused with status 400.

    Bytes that are not UTF-8 are replaced, raw control characters in texts accepted. NaN and infinity stay, longer
    numbers become infinity, and what is nested too deep becomes null.
    """
    text = body.decode("utf-8-sig", errors="replace")
    try:
        try:
            return json.loads(text, strict=False)
        except (RecursionError, ValueError) as error:
            if isinstance(error, json.JSONDecodeError):
                raise
            return json.loads(without_deep_values(text), strict=False, parse_int=read_integer)
    except (RecursionError, ValueError) as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.", code="bad_json") from None


def without_deep_values(text: str) -> str:
    """Return the JSON text with null for each list or object that lies deeper than the limit."""
    parts, depth, kept_to = [], 0, 0
    for token in _TOKENS.finditer(text):
        if token.group() in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                parts.append(text[kept_to : token.start()])
        elif token.group() in "]}":
            if depth == MAX_DEPTH + 1:
                parts.append("null")
                kept_to = token.end()
            depth -= 1
    return "".join([*parts, text[kept_to:]] if depth <= MAX_DEPTH else parts)


def read_integer(digits: str) -> float:
    """Return the integer; infinity if it has more digits than Python reads."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)
