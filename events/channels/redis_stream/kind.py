"""Adds events to a Redis stream (XADD). The entry's ID contains the event's position; the stream is trimmed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from django import forms
from django.core.exceptions import ValidationError
from redis.connection import parse_url
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from events.channels.base import Kind, KindForm, Message, Receipt, Sender, SendFailed
from events.channels.network.addresses import ForbiddenAddress, Purpose, Unresolved, resolve_allowed
from events.envelope import envelope

_DEFAULT_PORT = 6379
# A test message has no position. 0-0 is not a valid ID, and an ID made from the clock would be higher than any
# position.
_TEST_ENTRY_ID = "0-1"
# Other parameters of a URL choose what to connect to, or name files to read.
_PARAMETERS = frozenset({"client_name", "db", "protocol", "ssl_cert_reqs", "ssl_check_hostname"})
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
        if not url:
            return url
        try:
            connection_options(url)
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
            pool = redis.ConnectionPool(**{**connection_options(options["url"]), **limits})
        except (ValueError, ForbiddenAddress) as error:
            raise SendFailed(str(error), is_permanent=True) from error
        except Unresolved as error:
            raise SendFailed(str(error)) from error
        self._client = redis.Redis.from_pool(pool)

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
        except ForbiddenAddress as error:
            raise SendFailed(str(error), is_permanent=True) from error
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


class GuardedConnection(redis.Connection):
    """Connects to the address that was checked, each time anew."""

    def _connect(self) -> Any:
        name = self.host
        self.host = resolve_allowed(name, self.port, purpose=Purpose.CHANNEL)
        try:
            return super()._connect()  # type: ignore[no-untyped-call]
        finally:
            # TLS checks the certificate against the name.
            self.host = name


class GuardedTlsConnection(redis.SSLConnection, GuardedConnection):
    """The same with TLS."""


def connection_options(url: str) -> dict[str, Any]:
    """Return the options of a Redis connection pool for this URL, and check where it leads now.

    Raises ValueError, ForbiddenAddress, Unresolved.
    """
    try:
        options = parse_url(url)  # type: ignore[no-untyped-call]
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        raise ValueError(_INVALID_URL) from None
    if parts.scheme not in {"redis", "rediss"} or not host:
        raise ValueError(_INVALID_URL)
    if unknown := set(parse_qs(parts.query, keep_blank_values=True)) - _PARAMETERS:
        raise ValueError(f"Leave {min(unknown)[:80]} out of the URL. Allowed: {', '.join(sorted(_PARAMETERS))}.")
    resolve_allowed(host, port, purpose=Purpose.CHANNEL)
    connection = GuardedTlsConnection if parts.scheme == "rediss" else GuardedConnection
    return {**options, "connection_class": connection}


REDIS_STREAM = Kind(
    name="redis_stream",
    label="Redis stream",
    form=RedisStreamForm,
    sender=RedisStreamSender,
    # The IDs in a stream have to increase, so entries are added one at a time.
    is_sequential=True,
)
