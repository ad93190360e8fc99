"""The live envelope, and the texts in which a stream sends it: made once an event, not once a client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedEvent:
    """An event as it is told: a positioned one of the log, or live chatter."""

    # 0 for chatter: it has no place in the log.
    position: int
    event_type: str
    workspace_id: UUID | None
    version: int | None
    payload: Mapping[str, Any]
    created_at: datetime
    # What it is about, as it was then: {name, runtime, ancestors}.
    subject: Mapping[str, Any] = field(default_factory=dict)


class EncodedEvent:
    """One event, and its texts, each made when the first client wants it."""

    def __init__(self, event: LoggedEvent) -> None:
        self.event = event

    @cached_property
    def text(self) -> str:
        """Return the live envelope as JSON: a WebSocket's message."""
        return _compact(envelope(self.event))

    @cached_property
    def message(self) -> bytes:
        """Return the live envelope as a server-sent message."""
        return self._server_sent(self.text)

    @cached_property
    def workspace_message(self) -> bytes:
        """Return a server-sent message in the shape that existing clients of one workspace read."""
        event = self.event
        milliseconds = round(event.created_at.timestamp() * 1000)
        return self._server_sent(
            _compact({"type": event.event_type, "timestamp": milliseconds, "data": dict(event.payload)})
        )

    def _server_sent(self, text: str) -> bytes:
        # No `event:` line, so that `onmessage` fires. Chatter has no id: a client could not resume from it.
        place = f"id: {self.event.position}\n" if self.event.position else ""
        return f"{place}data: {text}\n\n".encode()


def envelope(event: LoggedEvent) -> dict[str, Any]:
    """Return what every live client gets of an event (the wire contract's live envelope)."""
    return {
        "event": event.event_type,
        "workspace_id": str(event.workspace_id) if event.workspace_id else None,
        "timestamp": event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "payload": event.payload,
        "position": event.position or None,
        "version": event.version,
    }


def _compact(value: dict[str, Any]) -> str:
    # JSON escapes line ends inside of texts, so that it is one line whatever it holds.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
