"""One live client's stream: what it wants, how it is written to, and how it ends."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from events.envelope import keep_alive_text
from events.live.client_writer import ClientWriter, size_of
from events.live.event_batch import AsgiMessage, EventBatch, StreamFormat, StreamOptions, body_part

# The sentence of every refusal with the code `bad_host`.
BAD_HOST = "This host is not among ALLOWED_HOSTS."


class StreamRefused(Exception):
    """The stream is refused, or ends, with this HTTP status and sentence. `code` is for programs."""

    def __init__(
        self, status: int, error: str, *, code: str, headers: Mapping[str, str] | None = None, **more: object
    ) -> None:
        super().__init__(error)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {"error": error, "code": code, **more}


@dataclass(frozen=True, kw_only=True)
class StreamEnd:
    """Why a stream ended: a sentence for the client, and a WebSocket's close code (4000 + the HTTP status)."""

    reason: str
    code: int


TOO_SLOW = StreamEnd(reason="You read too slowly. Connect again from your last position.", code=4429)
UNAVAILABLE = StreamEnd(reason="The event log can't be read now. Connect again from your last position.", code=4503)
# The client disconnected.
CLIENT_GONE = StreamEnd(reason="", code=1000)


@dataclass(kw_only=True, eq=False)
class Stream:
    """Holds new events until the replay is sent, and passes them on at once afterwards."""

    options: StreamOptions
    writer: ClientWriter
    queue_bytes: int
    # The connection, for checking the client's rights again.
    scope: Mapping[str, Any]
    workspace_id: UUID | None = None
    ended: "asyncio.Future[StreamEnd]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_quiet: bool = True
    # How many keep-alives in a row found it busy.
    stuck_ticks: int = 0
    # None once the replay is sent.
    _held: list[EventBatch] | None = field(default_factory=list)
    _held_bytes: int = 0
    # Up to where the replay has sent the log.
    _replayed: int = 0

    def send_logged(self, batch: EventBatch) -> None:
        """Send events of the log. End the stream if too much would be queued for the client."""
        if self._held is not None:
            self._held.append(batch)
            self._held_bytes += size_of(batch.messages(self.options))
            if self._held_bytes > self.queue_bytes:
                self.end(TOO_SLOW)
        elif messages := batch.messages(self.options):
            self.is_quiet = False
            if not self.writer.write(messages):
                self.end(TOO_SLOW)

    def send_ephemeral(self, batch: EventBatch) -> None:
        """Send ephemeral events, unless the client is still busy with others."""
        if self._held is None and not self.writer.is_busy and (messages := batch.messages(self.options)):
            self.is_quiet = False
            self.writer.write(messages)

    async def replay(self, batch: EventBatch, *, seconds: float) -> None:
        """Send earlier events as fast as the client reads. Raises TimeoutError if it takes none for `seconds`."""
        for message in batch.messages(self.options):
            self.writer.write([message])
            await self.writer.drain(seconds=seconds)

    def go_live(self, *, sent: int) -> None:
        """Send the held events, except those that the replay has sent: up to and including the position `sent`."""
        held, self._held, self._replayed = self._held or [], None, sent
        for batch in held:
            self.send_logged(batch.after(sent))

    def keep_alive(self, position: int) -> None:
        """If nothing was sent since the last call, send the position up to which the log was searched for it."""
        if self._held is None and self.is_quiet and not self.writer.is_busy:
            # The follower may still be behind what was replayed: a client that resumed there would get events twice.
            self.writer.write([self.keep_alive_message(max(position, self._replayed))])
        self.is_quiet = True
        self.stuck_ticks = self.stuck_ticks + 1 if self.writer.is_busy else 0

    def keep_alive_message(self, position: int) -> AsgiMessage:
        """Return what tells the client that nothing happened: an envelope; in one workspace's stream a comment."""
        text = keep_alive_text(position)
        if self.options.format is StreamFormat.WEBSOCKET:
            return {"type": "websocket.send", "text": text}
        # An ID without data fires no event; the browser resumes from there.
        moved = f": keep-alive\nid: {position}\n\n"
        is_of_workspace = self.options.format is StreamFormat.WORKSPACE_SERVER_SENT
        return body_part((moved if is_of_workspace else f"{moved}data: {text}\n\n").encode())

    def end(self, end: StreamEnd) -> None:
        """End the stream; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(end)
