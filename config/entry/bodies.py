"""How much a request may send, and how long it may take, before anything else is known of it."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from django.conf import settings

# From the first byte to the last. A proxy in front that buffers requests sends them at once.
BODY_SECONDS = 20.0
_WITH_A_LOG = ("/registry/failed", "/bootstrap-failed")
_ADMIN_EXTRA_BYTES = 1_048_576
SIGN_IN_PATH = "/admin/login/"
_SIGN_IN_BYTES = 65_536


# A server closes a connection on which a body was left unread. Without the word, a client would send its next request
# on it and get no answer.
LEFT_UNREAD = {"Connection": "close"}


class TurnedAway(Exception):
    """The request is not served: answer with this status, sentence and error code."""

    def __init__(
        self, status: HTTPStatus, sentence: str, *, code: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.body = json.dumps({"error": sentence, "code": code}, separators=(",", ":")).encode()
        self.headers = {"Content-Type": "application/json", **LEFT_UNREAD, **(headers or {})}


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


def check_length(length: str, *, limit: int, most: int | None = None) -> None:
    """Raise TurnedAway for a limit if the announced length is over `most`, by default the limit itself.

    Without a length, the bytes are counted as they come.
    """
    if length.isdecimal() and int(length[:20]) > (most or limit):
        raise too_large(limit)


def too_large(limit: int) -> TurnedAway:
    """Return the refusal of a body that is over the limit."""
    sentence = f"The body is larger than {limit // 1024} KiB."
    return TurnedAway(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence, code="too_large")


def too_slow(seconds: float) -> TurnedAway:
    """Return the refusal of a body that did not arrive within this time."""
    unit = "second" if seconds == 1 else "seconds"
    sentence = f"The body did not arrive within {seconds:.0f} {unit}."
    return TurnedAway(HTTPStatus.REQUEST_TIMEOUT, sentence, code="too_slow")


def too_many() -> TurnedAway:
    """Return the refusal of a body while too many others stand still."""
    sentence = "Too many bodies are still arriving. Try again in a few seconds."
    return TurnedAway(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="unavailable", headers={"Retry-After": "2"})


def too_busy() -> TurnedAway:
    """Return the refusal of a call that waited for its turn too long."""
    sentence = "Too many calls are still being answered. Try again in a few seconds."
    return TurnedAway(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="unavailable", headers={"Retry-After": "2"})


def incomplete() -> TurnedAway:
    """Return the refusal of a body that ended before its end."""
    return TurnedAway(HTTPStatus.BAD_REQUEST, "The body ended early.", code="bad_request")
