"""Reads the log for all live streams of a process, through one connection."""

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
_BEHIND = f"SELECT {_COLUMNS} FROM events_event WHERE position > %s ORDER BY position LIMIT %s"  # noqa: S608


class LogUnavailable(Exception):
    """The event log can't be read now; a later attempt may succeed."""


class LogReader:
    """Opens its connection on need; one query at a time, so that replays and the tail take turns by batch."""

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def last_position(self) -> int:
        """Return the position given last; raises LogUnavailable."""
        (position,) = await self._fetch(_LAST_POSITION, [], row_factory=scalar_row)
        return int(position)

    async def between(self, after: int, until: int) -> AsyncIterator[list[EncodedEvent]]:
        """Yield the events behind `after`, up to and with `until`, in batches; raises LogUnavailable."""
        while after < until:
            rows = await self._fetch(_BETWEEN, [after, until, BATCH_SIZE], row_factory=class_row(LoggedEvent))
            if not rows:
                return
            yield [EncodedEvent(row) for row in rows]
            after = rows[-1].position

    async def behind(self, position: int) -> list[EncodedEvent]:
        """Return a batch of what is behind this position, in one query; raises LogUnavailable."""
        rows = await self._fetch(_BEHIND, [position, BATCH_SIZE], row_factory=class_row(LoggedEvent))
        return [EncodedEvent(row) for row in rows]

    async def close(self) -> None:
        """Close the connection, after the query in hand; the next read opens another."""
        async with self._turn:
            await self._drop()

    async def _fetch(self, query: str, values: Sequence[Any], *, row_factory: Any) -> list[Any]:
        async with self._turn:
            if self._connection is not None:
                # A connection that has waited may have died meanwhile: a fresh one tells.
                with suppress(LogUnavailable):
                    return await self._attempt(query, values, row_factory=row_factory)
            return await self._attempt(query, values, row_factory=row_factory)

    async def _attempt(self, query: str, values: Sequence[Any], *, row_factory: Any) -> list[Any]:
        try:
            async with asyncio.timeout(READ_SECONDS):
                cursor = (await self._connected()).cursor(row_factory=row_factory)
                await cursor.execute(query, values)
                return await cursor.fetchall()
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
            await self._drop()
            raise LogUnavailable(str(error).strip() or "Postgres did not answer in time.") from error
        except asyncio.CancelledError:
            # Whoever asked has gone in the middle of an answer.
            await self._drop()
            raise

    async def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                **connection_parameters(application_name=APPLICATION_NAME)
            )
        return self._connection
