"""The error for a request that is refused before a service runs. Services raise their own exceptions."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from ninja.errors import ValidationError as InvalidBody
from pydantic import ValidationError

# An answer has this many problems of a body, and says how many more there are.
MOST_PROBLEMS = 20
# What Pydantic says of anything else, with the name of our class.
_PYTHON_OBJECT = re.compile(
    r"^Input should be a valid dictionary(?: or (?:instance of \w+|object to extract fields from))?"
)


class RequestRefused(Exception):
    """The caller gets this status and sentence. `code` is for scripts, `fields` says why for each field."""

    def __init__(self, status: HTTPStatus, error: str, *, code: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.fields = dict(fields or {})


def field_message(message: str) -> str:
    """Return Pydantic's message for a field as a sentence."""
    text = _PYTHON_OBJECT.sub("Input should be a JSON object", message.removeprefix("Value error, "))
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def invalid_body(error: ValidationError) -> InvalidBody:
    """Return Pydantic's error as Ninja raises it for a body that its views declare."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return InvalidBody([{**each, "loc": ("body", "body", *each["loc"])} for each in problems])
