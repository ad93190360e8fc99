"""One live client's stream: what it sees, how it is written to, and how it ends."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from events.live.client_writer import ClientWriter, size_of
from events.live.event_batch import AsgiMessage, EventBatch, StreamFormat, StreamOptions, body_part


class StreamRefused(Exception):
    """The client gets no stream, or no more of it, but this status and sentence."""

    def __init__(self, status: int, error: str, *, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {"error": error, **more}


@dataclass(frozen=True, kw_only=True)
class StreamEnd:
    """Why a stream ended: a sentence for the client, and a WebSocket's close code (4000 + the HTTP status)."""

    reason: str
    code: int


TOO_SLOW = StreamEnd(reason="You read too slowly. Connect again from your last position.", code=4429)
UNAVAILABLE = StreamEnd(reason="The event log can't be read now. Connect again from your last position.", code=4503)
# The client went by itself.
CLIENT_GONE = StreamEnd(reason="", code=1000)


@dataclass(kw_only=True, eq=False)
class Stream:
    """Holds back what arrives until the past has been sent, then hands on what arrives at once."""

    view: StreamOptions
    writer: ClientWriter
    queue_bytes: int
    # What the right to listen is asked again with.
    scope: Mapping[str, Any]
    workspace_id: UUID | None = None
    ended: "asyncio.Future[StreamEnd]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_quiet: bool = True
    # How often in a row the keep-alive found it busy.
    stuck_ticks: int = 0
    _held: list[EventBatch] | None = field(default_factory=list)
    _held_bytes: int = 0

    def send_logged(self, batch: EventBatch) -> None:
        """Hand on events of the log; a client for which too many would wait is cut off."""
        if self._held is not None:
            self._held.append(batch)
            self._held_bytes += size_of(batch.messages(self.view))
            if self._held_bytes > self.queue_bytes:
                self.end(TOO_SLOW)
        elif messages := batch.messages(self.view):
            self.is_quiet = False
            if not self.writer.write(messages):
                self.end(TOO_SLOW)

    def send_ephemeral(self, batch: EventBatch) -> None:
        """Hand on chatter, unless the client has more important things to read."""
        if self._held is None and not self.writer.is_busy and (messages := batch.messages(self.view)):
            self.is_quiet = False
            self.writer.write(messages)

    async def catch_up(self, batch: EventBatch, *, seconds: float) -> None:
        """Send a piece of the past, at the client's pace. Raises TimeoutError where it takes nothing."""
        for message in batch.messages(self.view):
            self.writer.write([message])
            await self.writer.drain(seconds=seconds)

    def go_live(self, *, sent: int) -> None:
        """Send what was held back, but for what the past has brought already: up to and with `sent`."""
        held, self._held = self._held or [], None
        for batch in held:
            self.send_logged(batch.behind(sent))

    def keep_alive(self, position: int) -> None:
        """Say that the stream lives, and how far the log was looked through for this client."""
        if self._held is None and self.is_quiet and not self.writer.is_busy:
            self.writer.write([_keep_alive(self.view.shape, position)])
        self.is_quiet = True
        self.stuck_ticks = self.stuck_ticks + 1 if self.writer.is_busy else 0

    def end(self, ending: StreamEnd) -> None:
        """End the stream; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(ending)


def _keep_alive(shape: StreamFormat, position: int) -> AsgiMessage:
    if shape is StreamFormat.TEXT:
        return {"type": "websocket.send", "text": f'{{"event":"KEEP_ALIVE","position":{position}}}'}
    # An id without data fires nothing; the browser resumes from there.
    return body_part(f": keep-alive\nid: {position}\n\n".encode())
