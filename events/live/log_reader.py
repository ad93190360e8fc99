"""Reads the event log for all live streams of a process, through one connection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row

from events.envelope import EncodedEvent, LoggedEvent
from postgres.connections import connection_parameters

BATCH_SIZE = 500
READ_SECONDS = 10.0
APPLICATION_NAME = "slipway-live-read"

_LAST_POSITION = "SELECT coalesce(max(last_position), 0) FROM events_positioncounter"
_COLUMNS = "position, event_type, workspace_id, version, payload, created_at, subject"
_BETWEEN = f"""
SELECT {_COLUMNS} FROM events_event WHERE position > %s AND position <= %s ORDER BY position LIMIT %s
"""  # noqa: S608 (columns only)
_AFTER = f"SELECT {_COLUMNS} FROM events_event WHERE position > %s ORDER BY position LIMIT %s"  # noqa: S608


class LogUnavailable(Exception):
    """The event log can't be read now. A later attempt may succeed."""


class LogReader:
    """Connects when it is first used, and runs one query at a time: replays take turns by batch."""

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def last_position(self) -> int:
        """Return the log's last position, 0 if it is empty. Raises LogUnavailable."""
        (position,) = await self._fetch(_LAST_POSITION, [], row_factory=scalar_row)
        return int(position)

    async def read_between(self, after: int, until: int) -> AsyncIterator[list[EncodedEvent]]:
        """Yield the events behind `after`, up to and including `until`, in batches. Raises LogUnavailable."""
        while after < until:
            rows = await self._fetch(_BETWEEN, [after, until, BATCH_SIZE], row_factory=class_row(LoggedEvent))
            if not rows:
                return
            yield [EncodedEvent(row) for row in rows]
            after = rows[-1].position

    async def read_after(self, position: int) -> list[EncodedEvent]:
        """Return at most BATCH_SIZE events behind this position. Raises LogUnavailable."""
        rows = await self._fetch(_AFTER, [position, BATCH_SIZE], row_factory=class_row(LoggedEvent))
        return [EncodedEvent(row) for row in rows]

    async def close(self) -> None:
        """Close the connection after the running query. The next read opens another one."""
        async with self._lock:
            await self._disconnect()

    async def _fetch(self, query: str, values: Sequence[Any], *, row_factory: Any) -> list[Any]:
        async with self._lock:
            if self._connection is not None:
                # An idle connection may be dead, so try a new one before giving up.
                with suppress(LogUnavailable):
                    return await self._attempt(query, values, row_factory=row_factory)
            return await self._attempt(query, values, row_factory=row_factory)

    async def _attempt(self, query: str, values: Sequence[Any], *, row_factory: Any) -> list[Any]:
        try:
            async with asyncio.timeout(READ_SECONDS):
                if self._connection is None:
                    parameters = connection_parameters(application_name=APPLICATION_NAME)
                    self._connection = await psycopg.AsyncConnection.connect(**parameters)
                cursor = self._connection.cursor(row_factory=row_factory)
                await cursor.execute(query, values)
                return await cursor.fetchall()
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
            await self._disconnect()
            raise LogUnavailable(str(error).strip() or "Postgres did not answer in time.") from error
        except asyncio.CancelledError:
            # The client disconnected in the middle of an answer, which must not be left in the connection.
            await self._disconnect()
            raise

    async def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
