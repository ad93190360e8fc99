"""Redis streams: XADD with an id that says the event's position, trimmed to about a length."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from events.channels.base import KindForm, Message, Receipt, SendFailed
from events.channels.network.addresses import ForbiddenAddress, Unresolved, reachable_address
from events.envelope import envelope

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_PORT = 6379
# A test has no position, 0-0 is no id, and one by the clock would lie ahead of every position.
_PLACE_OF_A_TEST = "0-1"


class RedisStreamForm(KindForm):
    """The server, the stream, and how long it may grow."""

    sealed = ("url",)

    url = forms.CharField(
        label="Address",
        max_length=500,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}, render_value=False),
        help_text="Such as rediss://:password@redis.example.com:6379/0. Encrypted, never shown again.",
    )
    stream = forms.CharField(max_length=200, initial="slipway:events", widget=UnfoldAdminTextInputWidget)
    max_length = forms.IntegerField(
        label="About this many entries are kept",
        initial=100_000,
        min_value=100,
        max_value=100_000_000,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"]).strip()
        try:
            _server(url)
        except (ValueError, ForbiddenAddress) as error:
            raise ValidationError(str(error)) from None
        except Unresolved:
            # Its name server may be down just now: every connection asks again.
            pass
        return url

    def clean_stream(self) -> str:
        if not _KEY.fullmatch(self.cleaned_data["stream"]):
            raise ValidationError("Name the stream in letters, digits and signs, without spaces.")
        return str(self.cleaned_data["stream"])


class RedisStreamKind:
    name = "redis_stream"
    label = "Redis stream"
    form = RedisStreamForm
    is_grouped = False
    # Ids in a stream only rise, so entries are added one after the other.
    is_sequential = True

    def initial_options(self) -> dict[str, Any]:
        return {}

    def open(self, options: Mapping[str, Any], *, timeout_seconds: float) -> "RedisStreamSender":
        return RedisStreamSender(options, timeout_seconds=timeout_seconds)


KIND = RedisStreamKind()


class RedisStreamSender:
    """Adds entries to one stream: {id, event, position, workspace_id, data: the live envelope}."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        self._stream = options["stream"]
        self._max_length = options["max_length"]
        try:
            self._client = _client(options["url"], seconds=timeout_seconds)
        except (ValueError, ForbiddenAddress) as error:
            raise SendFailed(str(error), is_permanent=True) from error
        except Unresolved as error:
            raise SendFailed(str(error)) from error

    def send(self, messages: Sequence[Message]) -> Receipt:
        (message,) = messages
        try:
            return Receipt(answer=self._add(message))
        except (redis.RedisError, OSError) as error:
            raise SendFailed(f"Redis did not take the entry: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._client.close()

    def _add(self, message: Message) -> str:
        place = f"{message.event.position}-0" if message.event.position else _PLACE_OF_A_TEST
        try:
            return self._xadd(message, place)
        except redis.ResponseError as error:
            if "equal or smaller" not in str(error):
                raise
        if self._has(message, place):
            return f"{place}, which was there already"
        # Later ones are there: it comes in late, behind the newest, and its own `position` says where it belongs.
        newest = self._client.xinfo_stream(self._stream)["last-generated-id"].decode()
        return self._xadd(message, f"{newest.partition('-')[0]}-*")

    def _has(self, message: Message, place: str) -> bool:
        present: Any = self._client.xrange(self._stream, place, place)
        return any(fields[b"id"] == message.id.encode() for _, fields in present)

    def _xadd(self, message: Message, place: str) -> str:
        data = envelope(message.event)
        fields: dict[Any, Any] = {
            "id": message.id,
            "event": message.event.event_type,
            "position": str(message.event.position),
            "workspace_id": data["workspace_id"] or "",
            "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
        }
        added = self._client.xadd(self._stream, fields, id=place, maxlen=self._max_length, approximate=True)
        return added.decode() if isinstance(added, bytes) else str(added)


def _client(url: str, *, seconds: float) -> redis.Redis:
    address = _server(url)
    parts = urlsplit(url)
    limits = {"socket_timeout": seconds / 2, "socket_connect_timeout": seconds / 2}
    if parts.scheme == "rediss":
        # The certificate is for the name, so the name is what is connected to.
        return redis.Redis.from_url(url, **limits)
    pinned = parts._replace(netloc=_netloc(parts.netloc, address, parts.port or _PORT))
    return redis.Redis.from_url(pinned.geturl(), **limits)


def _netloc(netloc: str, address: str, port: int) -> str:
    login, at, _ = netloc.rpartition("@")
    return f"{login}{at}[{address}]:{port}" if ":" in address else f"{login}{at}{address}:{port}"


def _server(url: str) -> str:
    """Return the address to connect to. Raises ValueError, ForbiddenAddress, Unresolved."""
    wrong = "This is no Redis address: write it like rediss://:password@redis.example.com:6379/0."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in {"redis", "rediss"} or not host:
        raise ValueError(wrong)
    return reachable_address(host, port)
