"""Gives committed events their position: gap-free, in an order that no reader is ever behind. Queues their deliveries.

Ids are given in order but not committed in order, so whoever reads by id skips what commits late. Positions are
given after the commit, under one lock, and become visible in their own order.
"""

import logging
from contextlib import closing

import psycopg
from django.db import DatabaseError, InterfaceError, connection, transaction

from events.connections import Doorbell
from events.fanout import create_deliveries
from events.models import PositionCounter
from events.outages import is_outage
from events.outbox import RECORDED_CHANNEL

logger = logging.getLogger(__name__)

# Live streams listen here; the payload is the position given last.
POSITIONED_CHANNEL = "slipway_event_positioned"
APPLICATION_NAME = "slipway-relay"
BATCH_SIZE = 500
# NOTIFY is a hint: what it missed is found by the next look.
LOOK_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 10.0
# Whoever holds the counter longer than this is stuck, and waiting for it would hide that.
_LOCK_TIMEOUT = "5s"

# Events are placed by id, but none before one of the same workspace with a lower version, wherever its id is:
# `reached` fetches those that the limit left out, `turn` is the place in the queue that all up to there have reached.
_NUMBER = """
WITH next AS (
    SELECT id, workspace_id, version FROM events_event WHERE position IS NULL ORDER BY id LIMIT %(limit)s
), reached AS (
    SELECT workspace_id, max(version) AS version FROM next GROUP BY workspace_id
), due AS (
    SELECT id, workspace_id, version FROM next
    UNION
    SELECT event.id, event.workspace_id, event.version
    FROM events_event AS event JOIN reached USING (workspace_id)
    WHERE event.position IS NULL AND event.version < reached.version
), queued AS (
    SELECT id, version, max(id) OVER (PARTITION BY workspace_id ORDER BY version, id) AS turn FROM due
), placed AS (
    SELECT id, row_number() OVER (ORDER BY turn, version, id) AS place FROM queued
)
UPDATE events_event SET position = %(last)s + placed.place FROM placed WHERE events_event.id = placed.id
"""


def number_committed(*, limit: int = BATCH_SIZE) -> int:
    """Give about `limit` committed events their position and return how many; any number of relays may run at once."""
    with transaction.atomic():
        last = _lock_counter()
        # A second statement, so that it sees what was committed while this one waited for the lock.
        with connection.cursor() as cursor:
            cursor.execute(_NUMBER, {"limit": limit, "last": last})
            count = cursor.rowcount
        if count:
            create_deliveries(after=last, until=last + count)
            _advance(last + count)
    return count


def number_all(*, limit: int = BATCH_SIZE) -> int:
    """Give every committed event its position, a batch at a time, and return how many."""
    total = 0
    while count := number_committed(limit=limit):
        total += count
    return total


def _lock_counter() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
    counter = PositionCounter.objects.select_for_update().first()
    if counter is None:
        # Created on need, not by a migration: a flushed database has none.
        PositionCounter.objects.bulk_create([PositionCounter()], ignore_conflicts=True)
        counter = PositionCounter.objects.select_for_update().get()
    return counter.last_position


def _advance(position: int) -> None:
    PositionCounter.objects.update(last_position=position)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [POSITIONED_CHANNEL, str(position)])


class Relay:
    """Numbers events as they are committed, until it is stopped; outlives an outage of Postgres."""

    def __init__(self, *, look_seconds: float = LOOK_SECONDS) -> None:
        self.numbered = 0
        self._doorbell = Doorbell()
        self._look_seconds = look_seconds
        self._failures = 0

    def run(self) -> None:
        """Return only after `stop()`; a relay runs once."""
        with closing(self._doorbell):
            while not self._doorbell.is_stopped:
                try:
                    self._serve()
                except (DatabaseError, InterfaceError, psycopg.Error) as error:
                    if not is_outage(error):
                        raise
                    self._pause(error)

    def stop(self) -> None:
        """End the run after the batch in hand; safe in a signal handler."""
        self._doorbell.stop()

    def _serve(self) -> None:
        with self._doorbell.listening(RECORDED_CHANNEL, application_name=APPLICATION_NAME):
            while not self._doorbell.is_stopped:
                self._number_all()
                self._doorbell.wait(seconds=self._look_seconds)

    def _number_all(self) -> None:
        while not self._doorbell.is_stopped:
            count = number_committed()
            self._report_recovery()
            self.numbered += count
            if not count:
                return

    def _report_recovery(self) -> None:
        if self._failures:
            logger.info("The relay numbers events again.", extra={"attempts": self._failures})
        self._failures = 0

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("The relay can't number events and keeps trying.", extra={"error": str(error).strip()})
        connection.close()
        self._doorbell.wait(seconds=min(0.25 * 2**self._failures, _LONGEST_PAUSE_SECONDS))
