"""Writes to one live client: at once where the last message is through, in order, and never more than may wait."""

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
    """No task of its own: a thousand clients cost a thousand calls for each event, and nothing else."""

    def __init__(self, send: Send, *, limit_bytes: int) -> None:
        self._send = send
        self._limit_bytes = limit_bytes
        self._sending: asyncio.Future[Any] | None = None
        self._waiting: deque[AsgiMessage] = deque()
        self._waiting_bytes = 0
        self._is_heard = False
        self._drained: asyncio.Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way that the client has not taken."""
        return self._sending is not None and not self._sending.done()

    def write(self, messages: Sequence[AsgiMessage]) -> bool:
        """Send the messages, or let them wait; False, with nothing done, where too much would wait."""
        if self.is_busy or self._waiting:
            size = self._waiting_bytes + size_of(messages)
            if size > self._limit_bytes:
                return False
            self._waiting_bytes = size
        self._waiting.extend(messages)
        self._go_on()
        return True

    def discard(self) -> None:
        """Forget what waits, so that something more important comes next."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def abandon(self) -> None:
        """Wait for the client no more: it has gone."""
        self.discard()
        self._report_drained()

    async def drain(self, *, seconds: float | None) -> None:
        """Return when all is through, or the client gone. Raises TimeoutError where it takes too long."""
        if not self._waiting and not self.is_busy:
            return
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        self._hear()
        async with asyncio.timeout(seconds):
            await asyncio.shield(self._drained)

    def _go_on(self) -> None:
        while self._waiting and not self.is_busy:
            self._start(self._waiting.popleft())
        if self._waiting:
            self._hear()
        else:
            self._waiting_bytes = 0

    def _start(self, message: AsgiMessage) -> None:
        try:
            sent = self._send(message)
        except RuntimeError:
            # The client has gone; the server's disconnect, which ends the stream, is on its way.
            self.discard()
            return
        # Granian sends when it is called, and gives a future only where the client must be waited for.
        is_underway = asyncio.isfuture(sent) or asyncio.iscoroutine(sent)
        self._sending = asyncio.ensure_future(sent) if is_underway else None

    def _hear(self) -> None:
        if not self._is_heard and self._sending is not None:
            self._is_heard = True
            self._sending.add_done_callback(self._sent)

    def _sent(self, sent: "asyncio.Future[Any]") -> None:
        self._is_heard = False
        with suppress(asyncio.CancelledError):
            # Looked at, so that nobody complains that it was not; a client that has gone is told of elsewhere.
            sent.exception()
        self._go_on()
        if self.is_busy:
            self._hear()
        else:
            self._report_drained()

    def _report_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
