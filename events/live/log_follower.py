"""Follows the event log for all live clients of a process."""

import asyncio
import logging
from collections.abc import Callable

import psycopg

from events.live.event_batch import EventBatch
from events.live.log_reader import BATCH_SIZE, LogReader, LogUnavailable
from events.relay import POLL_SECONDS, POSITIONED_CHANNEL
from postgres.connections import connection_parameters

logger = logging.getLogger(__name__)

APPLICATION_NAME = "slipway-live-tail"
_LONGEST_PAUSE_SECONDS = 5.0


class LogFollower:
    """Publishes every event behind `position`, and advances `position` with it."""

    def __init__(self, reader: LogReader, *, publish: Callable[[EventBatch], None]) -> None:
        self.position = 0
        self._reader = reader
        self._publish = publish
        self._failures = 0

    async def start_at_end(self) -> None:
        """Begin at the end of the log. Raises LogUnavailable."""
        self.position = await self._reader.last_position()

    async def follow(self) -> None:
        """Publish new events for ever, through outages of Postgres. Raises only if our code is at fault."""
        listen = psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(POSITIONED_CHANNEL))
        parameters = connection_parameters(application_name=APPLICATION_NAME)
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**parameters) as connection:
                    await connection.execute(listen)
                    while True:
                        await self._publish_new()
                        # A NOTIFY is only a hint: one read serves any number of them. Read without one, too.
                        async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                            pass
            except (psycopg.OperationalError, psycopg.InterfaceError, LogUnavailable, TimeoutError) as error:
                self._failures += 1
                if self._failures == 1:
                    fields = {"error": str(error).strip()}
                    logger.warning("The live streams can't read the event log and keep trying.", extra=fields)
                await asyncio.sleep(min(0.1 * 2**self._failures, _LONGEST_PAUSE_SECONDS))

    async def _publish_new(self) -> None:
        has_more = True
        while has_more:
            events = await self._reader.read_after(self.position)
            if self._failures:
                logger.info("The live streams read the event log again.", extra={"attempts": self._failures})
                self._failures = 0
            if events:
                # No await between these two: a stream that joins sees both or neither.
                self.position = events[-1].event.position
                self._publish(EventBatch(events))
            has_more = len(events) == BATCH_SIZE
