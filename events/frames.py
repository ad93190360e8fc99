"""The live envelope, and the bytes in which a stream sends it: made once an event, not once a client."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedEvent:
    """A positioned event as a stream reads it from the log."""

    position: int
    event_type: str
    workspace_id: UUID | None
    version: int | None
    payload: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as server-sent bytes, with the position that orders it."""

    position: int
    data: bytes


def envelope(event: LoggedEvent) -> dict[str, Any]:
    """Return what every live client gets of an event (the wire contract's live envelope)."""
    return {
        "event": event.event_type,
        "workspace_id": str(event.workspace_id) if event.workspace_id else None,
        "timestamp": event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "payload": event.payload,
        "position": event.position,
        "version": event.version,
    }


def frame(event: LoggedEvent) -> Frame:
    """Return the event as a server-sent message; it has no `event:` line, so that `onmessage` fires."""
    # JSON escapes line ends inside of texts, so that the data is one line whatever it holds.
    data = json.dumps(envelope(event), ensure_ascii=False, separators=(",", ":"))
    return Frame(event.position, f"id: {event.position}\ndata: {data}\n\n".encode())


def joined(frames: Sequence[Frame]) -> bytes:
    """Return the frames as one piece to send."""
    return b"".join(each.data for each in frames)
