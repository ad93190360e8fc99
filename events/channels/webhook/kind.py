"""HTTP POST to a URL, signed as Standard Webhooks defines it so that the receiver can verify it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpcore

from events.channels.base import RESPONSE_BYTES, Kind, Message, Receipt, Sender, SendFailed
from events.channels.network.addresses import ForbiddenAddress, Unresolved
from events.channels.network.guarded_http import Connections, limit_request
from events.channels.webhook.form import WebhookForm
from events.channels.webhook.signing import Signer, initial_options
from events.envelope import envelope

# The operator's own headers can't replace these (webhook/form.py).
_HEADERS = {"Content-Type": "application/json", "User-Agent": "Slipway", "Accept": "*/*"}
# Read more than is kept: a connection can only be reused if the response was read to its end.
_READ_BYTES = 65_536
# The receiver rejects the message itself, so the same bytes would be rejected again.
_REJECTED = frozenset({400, 405, 406, 411, 413, 414, 415, 422, 431})
# The receiver moved permanently. Redirects are not followed: they could lead a signed message anywhere.
_MOVED = frozenset({301, 308})


class WebhookSender(Sender):
    """Posts to one URL over kept-alive connections."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        self._url = httpcore.URL(options["url"])
        self._headers = {**options.get("headers", {}), **_HEADERS}
        self._signer = Signer(options["signing"])
        self._timeout_seconds = timeout_seconds
        self._connections = Connections(self._url)

    def send(self, messages: Sequence[Message]) -> Receipt:
        (message,) = messages
        data = envelope(message.event)
        body = json.dumps(
            {"type": message.event.event_type, "timestamp": data["timestamp"], "data": data},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        headers = [*self._headers.items(), *self._signer.headers(message.id, body)]
        received = b""
        limit_request(seconds=self._timeout_seconds)
        try:
            with (
                self._connections.borrow() as connection,
                connection.stream("POST", self._url, headers=headers, content=body.encode()) as response,
            ):
                for chunk in response.iter_stream():
                    received += chunk
                    if len(received) >= _READ_BYTES:
                        break
        except ForbiddenAddress as error:
            raise SendFailed(str(error), is_permanent=True) from error
        except Unresolved as error:
            raise SendFailed(str(error)) from error
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise SendFailed(f"The receiver did not answer within {self._timeout_seconds:g} s.") from error
        except httpcore.ProxyError as error:
            raise SendFailed(f"The proxy did not pass the message on: {error}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise SendFailed(f"The connection failed: {error or type(error).__name__}") from error
        text = received[:RESPONSE_BYTES].decode(errors="replace").replace("\0", "")
        return receipt_of(response.status, {name.lower(): value for name, value in response.headers}, text)

    def close(self) -> None:
        self._connections.close()


def receipt_of(status: int, headers: Mapping[bytes, bytes], text: str) -> Receipt:
    """Return a receipt for a 2xx response. Raises SendFailed for any other."""
    answer = f"HTTP {status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Receipt(answer=answer, response=text)
    reason = f"The receiver answered {status}."
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        # Name only the host: the rest of the URL may contain a secret.
        reason = (
            f"The receiver answered {status} and redirects to {redirect_host(headers)}. "
            "Redirects are not followed: enter the final URL instead."
        )
    raise SendFailed(
        reason,
        is_permanent=status in _REJECTED | _MOVED,
        is_gone=status == HTTPStatus.GONE,
        retry_after=parse_retry_after(headers.get(b"retry-after", b"").decode(errors="replace")),
        answer=answer,
        response=text,
    )


def redirect_host(headers: Mapping[bytes, bytes]) -> str:
    """Return the host that a response redirects to, in words if it names none."""
    try:
        return urlsplit(headers.get(b"location", b"").decode(errors="replace")).hostname or "the same host"
    except ValueError:
        return "an address that can't be parsed"


def parse_retry_after(text: str) -> timedelta | None:
    """Parse a Retry-After header: seconds or an HTTP date. Return None if it is neither."""
    if text.isascii() and text.isdigit():
        # Python refuses to convert thousands of digits.
        return timedelta(seconds=min(int(text.lstrip("0")[:20] or 0), 10**6))
    try:
        until = parsedate_to_datetime(text).astimezone(UTC) - datetime.now(tz=UTC)
    except (ValueError, OverflowError):
        return None
    return max(until, timedelta(0))


WEBHOOK = Kind(name="webhook", label="Webhook", form=WebhookForm, sender=WebhookSender, initial_options=initial_options)
