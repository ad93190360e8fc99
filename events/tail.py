"""Follows the log once for a whole process, whatever the number of its live clients."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from events.connections import parameters
from events.frames import Frame
from events.reader import LogReader, LogUnavailable
from events.relay import LOOK_SECONDS, POSITIONED_CHANNEL

logger = logging.getLogger(__name__)

APPLICATION_NAME = "slipway-live-tail"
# Frames are shared by all clients, so that a queue costs a reference for each.
QUEUE_SIZE = 5000
_LONGEST_PAUSE_SECONDS = 5.0


class Listener:
    """One client's bounded queue; `since` is the position from which on it gets every event."""

    def __init__(self, *, since: int, queue_size: int, task: asyncio.Task[Any]) -> None:
        self.since = since
        self._frames: deque[Frame] = deque()
        self._arrived = asyncio.Event()
        self._queue_size = queue_size
        self._task = task

    def offer(self, frames: Sequence[Frame]) -> bool:
        """Queue the frames; tell whether the queue had room left."""
        if len(self._frames) >= self._queue_size:
            return False
        self._frames.extend(frames)
        self._arrived.set()
        return True

    def cut(self) -> None:
        """End the client's stream, even one that waits for a full socket; it resumes by its last position."""
        self._task.cancel()

    async def take(self, *, seconds: float) -> list[Frame]:
        """Return what has arrived, waiting for it; empty when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return []
        self._arrived.clear()
        frames = list(self._frames)
        self._frames.clear()
        return frames


class Tail:
    """Starts with the first listener and ends with the last."""

    def __init__(self, reader: LogReader, *, queue_size: int = QUEUE_SIZE) -> None:
        self._reader = reader
        self._queue_size = queue_size
        self._listeners: set[Listener] = set()
        self._position = 0
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._failures = 0

    async def join(self) -> Listener:
        """Return a listener for the calling task, which `cut()` cancels; raises LogUnavailable."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        async with self._starting:
            if self._task is None:
                self._position = await self._reader.last_position()
                self._task = asyncio.create_task(self._follow())
                self._task.add_done_callback(self._report_end)
        # No await from here on: nothing is published between the position and the place in the set.
        listener = Listener(since=self._position, queue_size=self._queue_size, task=task)
        self._listeners.add(listener)
        return listener

    async def leave(self, listener: Listener) -> None:
        """Stop serving the listener; the last one switches off the light."""
        self._listeners.discard(listener)
        if self._listeners:
            return
        if self._task is not None:
            self._task.cancel()
            self._task = None
        await self._reader.close()

    async def _follow(self) -> None:
        while True:
            try:
                async with _listening() as connection:
                    while True:
                        await self._publish_new()
                        await _ring(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError, LogUnavailable, TimeoutError) as error:
                await self._pause(error)

    async def _publish_new(self) -> None:
        until = await self._reader.last_position()
        self._report_recovery()
        async for frames in self._reader.between(self._position, until):
            self._position = frames[-1].position
            for listener in {each for each in self._listeners if not each.offer(frames)}:
                self._cut(listener)

    def _cut(self, listener: Listener) -> None:
        logger.warning("A live client was too slow and is cut off.", extra={"queue_size": self._queue_size})
        self._listeners.discard(listener)
        listener.cut()

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("The live tail can't read the log and keeps trying.", extra={"error": str(error).strip()})
        await asyncio.sleep(min(0.1 * 2**self._failures, _LONGEST_PAUSE_SECONDS))

    def _report_recovery(self) -> None:
        if self._failures:
            logger.info("The live tail reads the log again.", extra={"attempts": self._failures})
        self._failures = 0

    def _report_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        # A fault of ours: clients that would wait for ever are sent away and start another tail.
        logger.error("The live tail has failed; its clients connect again.", exc_info=task.exception())
        self._task = None
        for listener in self._listeners:
            listener.cut()
        self._listeners.clear()


@asynccontextmanager
async def _listening() -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    connection = await psycopg.AsyncConnection.connect(**parameters(application_name=APPLICATION_NAME))
    async with connection:
        await connection.execute(
            psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(POSITIONED_CHANNEL)),
        )
        yield connection


async def _ring(connection: psycopg.AsyncConnection[Any]) -> None:
    # However often it rang: one look answers all. And one look anyway, since a NOTIFY is only a hint.
    async for _ in connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
        pass
