"""Events that are sent to all clients together. Each message is made once for all clients with the same options."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from events.envelope import EncodedEvent
from events.live.filters import EVERYTHING, Filter

# What an ASGI server sends.
AsgiMessage = dict[str, Any]


class StreamFormat(Enum):
    """How a stream writes an event."""

    # Server-sent events with the live envelope.
    SERVER_SENT = auto()
    # Server-sent events as existing clients of one workspace's stream read them.
    WORKSPACE_SERVER_SENT = auto()
    # WebSocket texts with the live envelope.
    WEBSOCKET = auto()


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What a client asked for. Clients with equal options share their messages."""

    filter: Filter = EVERYTHING
    format: StreamFormat = StreamFormat.SERVER_SENT

    def __post_init__(self) -> None:
        # Every event looks it up for every client, so compute it once.
        object.__setattr__(self, "_hash", hash((self.filter, self.format)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined]


class EventBatch:
    """Some events in order: either all from the log, or all ephemeral."""

    def __init__(self, events: Sequence[EncodedEvent]) -> None:
        self.events = events
        self._messages: dict[StreamOptions, list[AsgiMessage]] = {}

    def messages(self, options: StreamOptions) -> list[AsgiMessage]:
        """Return what to send to a client with these options; an empty list if it wants none of the events."""
        messages = self._messages.get(options)
        if messages is None:
            wanted = [encoded for encoded in self.events if options.filter.passes(encoded.event)]
            if options.format is StreamFormat.WEBSOCKET:
                messages = [{"type": "websocket.send", "text": encoded.text} for encoded in wanted]
            elif options.format is StreamFormat.WORKSPACE_SERVER_SENT:
                messages = [body_part(b"".join(encoded.workspace_server_sent for encoded in wanted))]
            else:
                messages = [body_part(b"".join(encoded.server_sent for encoded in wanted))]
            messages = self._messages[options] = messages if wanted else []
        return messages

    def after(self, position: int) -> "EventBatch":
        """Return the batch without events of the log up to and including this position."""
        return EventBatch([encoded for encoded in self.events if encoded.event.position > position])


def body_part(data: bytes, *, is_last: bool = False) -> AsgiMessage:
    """Return a part of a response's body."""
    return {"type": "http.response.body", "body": data, "more_body": not is_last}
