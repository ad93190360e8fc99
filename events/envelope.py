"""The live envelope, and the texts that streams send. Each text is made once for each event, not for each client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.utils import timezone

KEEP_ALIVE = "KEEP_ALIVE"


@dataclass(kw_only=True, slots=True)
class LoggedEvent:
    """An event as listeners get it: from the log, or ephemeral."""

    # 0 for an ephemeral event, which is not in the log.
    position: int
    event_type: str
    workspace_id: UUID | None
    version: int | None
    payload: Mapping[str, Any]
    created_at: datetime
    # The workspace at that time: {name, runtime, ancestors: [ID as text, nearest first]}.
    subject: Mapping[str, Any] = field(default_factory=dict)


class EncodedEvent:
    """One event and its texts. Each text is made when the first client needs it."""

    def __init__(self, event: LoggedEvent) -> None:
        self.event = event

    @cached_property
    def text(self) -> str:
        """Return the live envelope as JSON, for a WebSocket."""
        return _compact(envelope(self.event))

    @cached_property
    def server_sent(self) -> bytes:
        """Return the live envelope as a server-sent message."""
        return self._as_message(self.text)

    @cached_property
    def workspace_server_sent(self) -> bytes:
        """Return a server-sent message as existing clients of one workspace's stream read it (wire contract)."""
        event = self.event
        milliseconds = round(event.created_at.timestamp() * 1000)
        return self._as_message(
            _compact({"type": event.event_type, "timestamp": milliseconds, "data": dict(event.payload)})
        )

    def _as_message(self, text: str) -> bytes:
        # No `event:` line, so that `onmessage` fires. An ephemeral event has no ID: a client can't resume from it.
        identifier = f"id: {self.event.position}\n" if self.event.position else ""
        return f"{identifier}data: {text}\n\n".encode()


def envelope(event: LoggedEvent) -> dict[str, Any]:
    """Return the event as every live client gets it (the wire contract's live envelope)."""
    return {
        "event": event.event_type,
        "workspace_id": str(event.workspace_id) if event.workspace_id else None,
        "timestamp": _timestamp(event.created_at),
        "payload": event.payload,
        "position": event.position or None,
        "version": event.version,
    }


def keep_alive_text(position: int) -> str:
    """Return the envelope, as JSON, that says that nothing happened up to this position of the log."""
    about: dict[str, Any] = {"workspace_id": None, "timestamp": _timestamp(timezone.now()), "payload": {}}
    return _compact({"event": KEEP_ALIVE, **about, "position": position, "version": None})


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _compact(value: dict[str, Any]) -> str:
    # JSON escapes line breaks in texts, so the result is one line.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
