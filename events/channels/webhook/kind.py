"""Webhooks, signed as Standard Webhooks has it: HTTP POST to an address, to be verified by the receiver."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpcore
from standardwebhooks import Webhook

from events.channels.base import RESPONSE_BYTES, Message, Receipt, SendFailed
from events.channels.network.addresses import ForbiddenAddress, Unresolved
from events.channels.network.guarded_http import Connections, limit_request
from events.channels.webhook.form import WebhookForm
from events.envelope import envelope

ROTATION_OVERLAP = timedelta(hours=24)
_SECRET_BYTES = 32
# More than an answer needs; reading it to its end lets the connection be used again.
_READ_BYTES = 65_536
# Statuses that speak of the message itself: the same bytes would get the same answer.
_REFUSED = frozenset({400, 405, 406, 411, 413, 414, 415, 422, 431})
# The receiver has moved for good; following would send a signed message wherever an answer points.
_MOVED = frozenset({301, 308})


class WebhookKind:
    name = "webhook"
    label = "Webhook"
    form = WebhookForm
    is_grouped = False
    is_sequential = False

    def initial_options(self) -> dict[str, Any]:
        """Return the first signing secret."""
        return {"signing": [{"secret": new_secret(), "until": None}]}

    def open(self, options: Mapping[str, Any], *, timeout_seconds: float) -> "WebhookSender":
        return WebhookSender(options, timeout_seconds=timeout_seconds)


KIND = WebhookKind()


def new_secret() -> str:
    """Return a signing secret in the form that Standard Webhooks' libraries take."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def rotated(signing: Sequence[Mapping[str, Any]], *, now: datetime) -> list[dict[str, Any]]:
    """Return the signing secrets with a new one in front; the present one signs along until the overlap is over."""
    until = (now + ROTATION_OVERLAP).isoformat()
    present = [{"secret": each["secret"], "until": each["until"] or until} for each in valid(signing, now=now)]
    return [{"secret": new_secret(), "until": None}, *present]


def valid(signing: Sequence[Mapping[str, Any]], *, now: datetime) -> list[Mapping[str, Any]]:
    """Return the secrets that sign now."""
    return [each for each in signing if each["until"] is None or datetime.fromisoformat(each["until"]) > now]


def body_of(message: Message) -> bytes:
    """Return the body: the same bytes at every attempt, since an event never changes."""
    data = envelope(message.event)
    body = {"type": message.event.event_type, "timestamp": data["timestamp"], "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


class WebhookSender:
    """Posts to one address over kept-alive connections."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        self._url = httpcore.URL(options["url"])
        self._headers = {**options.get("headers", {}), **_OUR_HEADERS}
        self._signing = [(Webhook(each["secret"]), each["until"]) for each in options["signing"]]
        self._seconds = timeout_seconds
        self._connections = Connections()

    def send(self, messages: Sequence[Message]) -> Receipt:
        (message,) = messages
        body = body_of(message)
        status, headers, response = self._post(body, self._signed(message.id, body))
        return _judged(status, headers, response)

    def close(self) -> None:
        self._connections.close()

    def _signed(self, message_id: str, body: bytes) -> list[tuple[str, str]]:
        now = datetime.now(tz=UTC)
        text = body.decode()
        signatures = [
            hook.sign(message_id, now, text)
            for hook, until in self._signing
            if until is None or datetime.fromisoformat(until) > now
        ]
        return [
            ("webhook-id", message_id),
            ("webhook-timestamp", str(int(now.timestamp()))),
            ("webhook-signature", " ".join(signatures)),
        ]

    def _post(self, body: bytes, signature: list[tuple[str, str]]) -> tuple[int, dict[bytes, bytes], str]:
        limit_request(seconds=self._seconds)
        headers = [*self._headers.items(), *signature]
        try:
            with (
                self._connections.one() as connection,
                connection.stream("POST", self._url, headers=headers, content=body) as response,
            ):
                text = _beginning(response)
                return response.status, {name.lower(): value for name, value in response.headers}, text
        except ForbiddenAddress as error:
            raise SendFailed(str(error), is_permanent=True) from error
        except Unresolved as error:
            raise SendFailed(str(error)) from error
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise SendFailed(f"It did not answer within {self._seconds:g} s.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise SendFailed(f"The connection failed: {error or type(error).__name__}") from error


_OUR_HEADERS = {"Content-Type": "application/json", "User-Agent": "Slipway", "Accept": "*/*"}


def _beginning(response: httpcore.Response) -> str:
    """Read the answer, at most so much of it, and return its first KiB."""
    read = b""
    for chunk in response.iter_stream():
        read += chunk
        if len(read) >= _READ_BYTES:
            break
    return read[:RESPONSE_BYTES].decode(errors="replace").replace("\0", "")


def _judged(status: int, headers: Mapping[bytes, bytes], response: str) -> Receipt:
    answer = f"HTTP {status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Receipt(answer=answer, response=response)
    raise SendFailed(
        _reason(status, headers),
        is_permanent=status in _REFUSED | _MOVED,
        is_gone=status == HTTPStatus.GONE,
        retry_after=_retry_after(headers.get(b"retry-after", b"").decode(errors="replace")),
        answer=answer,
        response=response,
    )


def _reason(status: int, headers: Mapping[bytes, bytes]) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        # The host only: an address may hold a secret.
        host = urlsplit(headers.get(b"location", b"").decode(errors="replace")).hostname or "the same host"
        return f"It answered {status} and points to {host}. Redirects are not followed: enter the address itself."
    return f"It answered {status}."


def _retry_after(text: str) -> timedelta | None:
    """Return what Retry-After asks for: seconds, or a date; None where it asks for nothing that can be understood."""
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text), 10**6))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(moment.astimezone(UTC) - datetime.now(tz=UTC), timedelta(0))
