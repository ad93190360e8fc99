"""The JSON of answers."""

import json
from typing import Any

import orjson
from django.http import HttpRequest
from ninja.renderers import BaseRenderer
from ninja.responses import NinjaJSONEncoder

_default = NinjaJSONEncoder().default


class JsonRenderer(BaseRenderer):
    """JSON without spaces, because existing scripts compare its text. Times are Django's, with milliseconds and `Z`."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes | str:
        """Return the data as JSON. Raises TypeError if there is no JSON for it."""
        try:
            return orjson.dumps(data, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)
        except TypeError:
            # An agent's card may hold integers of more than 64 bits.
            return json.dumps(data, cls=NinjaJSONEncoder, separators=(",", ":"))
