"""Follows the log once for a whole process, whatever the number of its live clients."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from events.live.event_batch import EventBatch
from events.live.log_reader import BATCH_SIZE, LogReader, LogUnavailable
from events.relay import POLL_SECONDS, POSITIONED_CHANNEL
from postgres.connections import connection_parameters

logger = logging.getLogger(__name__)

APPLICATION_NAME = "slipway-live-tail"
_LONGEST_PAUSE_SECONDS = 5.0


class LogFollower:
    """Hands on every event behind `position`, and moves `position` with it."""

    def __init__(self, reader: LogReader, *, publish: Callable[[EventBatch], None]) -> None:
        self.position = 0
        self._reader = reader
        self._publish = publish
        self._failures = 0

    async def start_here(self) -> None:
        """Begin at the present end of the log; raises LogUnavailable."""
        self.position = await self._reader.last_position()

    async def follow(self) -> None:
        """Never return: outlives the loss of its connections, and raises only what is a fault of ours."""
        while True:
            try:
                async with _listening() as connection:
                    while True:
                        await self._look()
                        await _ring(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError, LogUnavailable, TimeoutError) as error:
                await self._pause(error)

    async def _look(self) -> None:
        is_more = True
        while is_more:
            frames = await self._reader.behind(self.position)
            self._report_recovery()
            if frames:
                # No await between the two: whoever joins sees both or neither.
                self.position = frames[-1].event.position
                self._publish(EventBatch(frames))
            is_more = len(frames) == BATCH_SIZE

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("The live tail can't read the log and keeps trying.", extra={"error": str(error).strip()})
        await asyncio.sleep(min(0.1 * 2**self._failures, _LONGEST_PAUSE_SECONDS))

    def _report_recovery(self) -> None:
        if self._failures:
            logger.info("The live tail reads the log again.", extra={"attempts": self._failures})
        self._failures = 0


@asynccontextmanager
async def _listening() -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    connection = await psycopg.AsyncConnection.connect(**connection_parameters(application_name=APPLICATION_NAME))
    async with connection:
        await connection.execute(
            psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(POSITIONED_CHANNEL)),
        )
        yield connection


async def _ring(connection: psycopg.AsyncConnection[Any]) -> None:
    # However often it rang: one look answers all. And one look anyway, since a NOTIFY is only a hint.
    async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
        pass
