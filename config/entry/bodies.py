"""How much a request may send, and how long it may take, before anything else is known of it."""

import json
from http import HTTPStatus

from django.conf import settings

# From the first byte to the last. A proxy in front that buffers requests sends them at once.
BODY_SECONDS = 20.0
_WITH_A_LOG = ("/registry/failed", "/bootstrap-failed")
_ADMIN_EXTRA_BYTES = 1_048_576
SIGN_IN_PATH = "/admin/login/"
_SIGN_IN_BYTES = 65_536


class BodyRefused(Exception):
    """The body is too large or too slow: answer with this status and sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    @property
    def body(self) -> bytes:
        """The answer's body, with the API's error code."""
        code = "too_large" if self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "too_slow"
        return json.dumps({"error": str(self), "code": code}, separators=(",", ":")).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        return {"Content-Type": "application/json"}


def limit_of(path: str) -> int:
    """Return how many bytes a request to this path may send."""
    if path.endswith(_WITH_A_LOG):
        return settings.MAX_LOG_BODY_BYTES
    if path == SIGN_IN_PATH:
        return _SIGN_IN_BYTES
    if path.startswith("/admin/"):
        # A little more than a form may hold, so that the admin refuses it itself, with a page.
        return settings.DATA_UPLOAD_MAX_MEMORY_SIZE + _ADMIN_EXTRA_BYTES
    return settings.MAX_BODY_BYTES


def check_length(length: str, *, limit: int) -> None:
    """Raise BodyRefused if the announced length is over the limit. Without one, the bytes are counted as they come."""
    if length.isdecimal() and int(length[:20]) > limit:
        raise too_large(limit)


def too_large(limit: int) -> BodyRefused:
    """Return the refusal of a body that is over the limit."""
    return BodyRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit // 1024} KiB.")


def too_slow() -> BodyRefused:
    """Return the refusal of a body that does not arrive."""
    return BodyRefused(HTTPStatus.REQUEST_TIMEOUT, f"The body did not arrive within {BODY_SECONDS:.0f} seconds.")
