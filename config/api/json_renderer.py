"""The JSON of answers."""

import json
from datetime import datetime
from typing import Any

import orjson
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest
from ninja.renderers import BaseRenderer
from ninja.responses import NinjaJSONEncoder

_of_django, _of_ninja = DjangoJSONEncoder().default, NinjaJSONEncoder().default
# An object that is no JSON fails, as with Django.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class JsonRenderer(BaseRenderer):
    """JSON without spaces, because existing scripts compare its text. Times are Django's, with milliseconds and `Z`."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        """Return the data as JSON. Raises TypeError if there is no JSON for it."""
        return as_json(data)


def encoded(value: Any) -> Any:
    """Return what stands for a value that orjson doesn't know. Times first: a long list has thousands of them."""
    return _of_django(value) if isinstance(value, datetime) else _of_ninja(value)


def as_json(data: Any) -> bytes:
    """Return the JSON of a value. Raises TypeError if there is none for it."""
    try:
        return orjson.dumps(data, default=encoded, option=_OPTIONS)
    except TypeError:
        if isinstance(data, list):
            # One item, such as an agent's card with an integer of more than 64 bits, doesn't slow down the others.
            return b"[" + b",".join(map(as_json, data)) + b"]"
        return json.dumps(data, cls=NinjaJSONEncoder, separators=(",", ":")).encode()
