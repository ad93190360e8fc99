"""Adds events to a Redis stream (XADD). The entry's ID contains the event's position; the stream is trimmed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from events.channels.base import Kind, KindForm, Message, Receipt, Sender, SendFailed
from events.channels.network.addresses import ForbiddenAddress, Purpose, Unresolved, resolve_allowed
from events.envelope import envelope

_DEFAULT_PORT = 6379
# A test message has no position. 0-0 is not a valid ID, and an ID made from the clock would be higher than any
# position.
_TEST_ENTRY_ID = "0-1"
_INVALID_URL = "This is not a Redis URL. Enter one like rediss://:password@redis.example.com:6379/0."


class RedisStreamForm(KindForm):
    """The server, the stream and its maximum length."""

    encrypted = ("url",)

    url = forms.CharField(
        label="URL",
        max_length=500,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}, render_value=False),
        help_text="For example rediss://:password@redis.example.com:6379/0. Encrypted and never shown again.",
    )
    stream = forms.RegexField(
        r"^[\x21-\x7e]+$",
        max_length=200,
        initial="slipway:events",
        widget=UnfoldAdminTextInputWidget,
        error_messages={"invalid": "Use only ASCII letters, digits and punctuation, without spaces."},
    )
    max_length = forms.IntegerField(
        label="Approximate number of entries to keep",
        initial=100_000,
        min_value=100,
        max_value=100_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"])
        try:
            _pinned_url(url)
        except (ValueError, ForbiddenAddress) as error:
            raise ValidationError(str(error)) from None
        except Unresolved:
            # The name server may be down for a moment. Every connection checks again.
            pass
        return url


class RedisStreamSender(Sender):
    """Adds entries to one stream: {id, event, position, workspace_id, data: the live envelope as JSON}."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        self._stream = options["stream"]
        self._max_length = options["max_length"]
        limits = {"socket_timeout": timeout_seconds / 2, "socket_connect_timeout": timeout_seconds / 2}
        try:
            self._client = redis.Redis.from_url(_pinned_url(options["url"]), **limits)
        except (ValueError, ForbiddenAddress) as error:
            raise SendFailed(str(error), is_permanent=True) from error
        except Unresolved as error:
            raise SendFailed(str(error)) from error

    def send(self, messages: Sequence[Message]) -> Receipt:
        (message,) = messages
        entry_id = f"{message.event.position}-0" if message.event.position else _TEST_ENTRY_ID
        try:
            try:
                return self._add(message, entry_id)
            except redis.ResponseError as error:
                if "equal or smaller" not in str(error):
                    raise
            existing: Any = self._client.xrange(self._stream, entry_id, entry_id)
            if any(fields[b"id"] == message.id.encode() for _, fields in existing):
                # An earlier attempt added it.
                return Receipt(answer=f"{entry_id} was already in the stream")
            # The stream contains later events: append this one. Its field `position` says where it belongs.
            newest = self._client.xinfo_stream(self._stream)["last-generated-id"].decode()
            return self._add(message, f"{newest.partition('-')[0]}-*")
        except (redis.RedisError, OSError) as error:
            raise SendFailed(f"Redis did not add the entry: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._client.close()

    def _add(self, message: Message, entry_id: str) -> Receipt:
        data = envelope(message.event)
        fields: dict[Any, Any] = {
            "id": message.id,
            "event": message.event.event_type,
            "position": str(message.event.position),
            "workspace_id": data["workspace_id"] or "",
            "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
        }
        added = self._client.xadd(self._stream, fields, id=entry_id, maxlen=self._max_length, approximate=True)
        return Receipt(answer=added.decode() if isinstance(added, bytes) else str(added))


def _pinned_url(url: str) -> str:
    """Return the URL with the host's address in place of its name. Raises ValueError, ForbiddenAddress, Unresolved.

    A rediss:// URL keeps the name, because the certificate is checked against it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        raise ValueError(_INVALID_URL) from None
    if parts.scheme not in {"redis", "rediss"} or not host:
        raise ValueError(_INVALID_URL)
    address = resolve_allowed(host, port, purpose=Purpose.CHANNEL)
    if parts.scheme == "rediss":
        return url
    login, at, _ = parts.netloc.rpartition("@")
    bracketed = f"[{address}]" if ":" in address else address
    return parts._replace(netloc=f"{login}{at}{bracketed}:{port}").geturl()


REDIS_STREAM = Kind(
    name="redis_stream",
    label="Redis stream",
    form=RedisStreamForm,
    sender=RedisStreamSender,
    # The IDs in a stream have to increase, so entries are added one at a time.
    is_sequential=True,
)
