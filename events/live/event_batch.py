"""What one look at the log, or at the chatter, brings to the clients: each message is made once, for all who see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from events.envelope import EncodedEvent
from events.live.filters import EVERYTHING, Filter

# What an ASGI server is given to send.
AsgiMessage = dict[str, Any]


class StreamFormat(Enum):
    """How a stream writes an event."""

    # Server-sent, the live envelope.
    MESSAGE = auto()
    # Server-sent, for existing clients of one workspace.
    WORKSPACE_MESSAGE = auto()
    # The live envelope as a WebSocket's text.
    TEXT = auto()


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What a client sees of the events. Equal views share their messages."""

    filter: Filter = EVERYTHING
    shape: StreamFormat = StreamFormat.MESSAGE

    def __post_init__(self) -> None:
        # Asked for with each event and client: counted out once.
        object.__setattr__(self, "_hash", hash((self.filter, self.shape)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined]


class EventBatch:
    """Some events, in order; all of the log, or all chatter."""

    def __init__(self, frames: Sequence[EncodedEvent]) -> None:
        self.frames = frames
        self._messages: dict[StreamOptions, list[AsgiMessage]] = {}

    def messages(self, view: StreamOptions) -> list[AsgiMessage]:
        """Return what a client with this view is sent; nothing where it wants none of the events."""
        messages = self._messages.get(view)
        if messages is None:
            messages = self._messages[view] = _messages(self.frames, view)
        return messages

    def behind(self, position: int) -> "EventBatch":
        """Return the batch without events of the log up to this position."""
        return EventBatch([frame for frame in self.frames if frame.event.position > position])


def body_part(data: bytes, *, is_last: bool = False) -> AsgiMessage:
    """Return a piece of a server-sent stream."""
    return {"type": "http.response.body", "body": data, "more_body": not is_last}


def _messages(frames: Sequence[EncodedEvent], view: StreamOptions) -> list[AsgiMessage]:
    wanted = [frame for frame in frames if view.filter.passes(frame.event)]
    if view.shape is StreamFormat.TEXT:
        return [{"type": "websocket.send", "text": frame.text} for frame in wanted]
    if not wanted:
        return []
    if view.shape is StreamFormat.WORKSPACE_MESSAGE:
        return [body_part(b"".join(frame.workspace_message for frame in wanted))]
    return [body_part(b"".join(frame.message for frame in wanted))]
