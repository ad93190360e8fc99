"""Writes to one live client: at once if the previous message is sent, in order, and with a bounded queue."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from events.live.event_batch import AsgiMessage

Send = Callable[[AsgiMessage], Awaitable[None]]


def size_of(messages: Iterable[AsgiMessage]) -> int:
    """Return about how many bytes the messages are."""
    return sum(len(message.get("body") or message.get("text") or "") for message in messages)


class ClientWriter:
    """Uses no task of its own, so that an event costs each client one call and nothing else."""

    def __init__(self, send: Send, *, limit_bytes: int) -> None:
        self._send = send
        self._limit_bytes = limit_bytes
        self._sending: asyncio.Future[Any] | None = None
        self._queue: deque[AsgiMessage] = deque()
        self._queued_bytes = 0
        self._has_callback = False
        self._drained: asyncio.Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a message is being sent that the client has not taken yet."""
        return self._sending is not None and not self._sending.done()

    def write(self, messages: Sequence[AsgiMessage]) -> bool:
        """Send the messages or queue them. Return False and do nothing if the queue would exceed its limit."""
        if self.is_busy or self._queue:
            size = self._queued_bytes + size_of(messages)
            if size > self._limit_bytes:
                return False
            self._queued_bytes = size
        self._queue.extend(messages)
        self._send_queue()
        return True

    def discard(self) -> None:
        """Empty the queue, so that the next message is sent first."""
        self._queue.clear()
        self._queued_bytes = 0

    def abandon(self) -> None:
        """Stop waiting for a client that has disconnected."""
        self.discard()
        self._report_drained()

    async def drain(self, *, seconds: float | None) -> None:
        """Wait until everything is sent or the client has disconnected. Raises TimeoutError after `seconds`."""
        if not self._queue and not self.is_busy:
            return
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        self._add_callback()
        async with asyncio.timeout(seconds):
            await asyncio.shield(self._drained)

    def _send_queue(self) -> None:
        while self._queue and not self.is_busy:
            try:
                sent = self._send(self._queue.popleft())
            except RuntimeError:
                # The client has disconnected. The server's disconnect message, which ends the stream, follows.
                self.discard()
                return
            # Granian sends when it is called. It returns a future only if the client is slow.
            is_pending = asyncio.isfuture(sent) or asyncio.iscoroutine(sent)
            self._sending = asyncio.ensure_future(sent) if is_pending else None
        if self._queue:
            self._add_callback()
        else:
            self._queued_bytes = 0

    def _add_callback(self) -> None:
        if not self._has_callback and self._sending is not None:
            self._has_callback = True
            self._sending.add_done_callback(self._on_sent)

    def _on_sent(self, sent: "asyncio.Future[Any]") -> None:
        self._has_callback = False
        with suppress(asyncio.CancelledError):
            # Retrieve it, or asyncio warns. The disconnect message reports a client that has gone.
            sent.exception()
        self._send_queue()
        if self.is_busy:
            self._add_callback()
        else:
            self._report_drained()

    def _report_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
