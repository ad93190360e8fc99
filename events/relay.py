"""Gives committed events their position: gap-free, in an order that no reader is ever behind. Queues their deliveries.

Ids are given in order but not committed in order, so whoever reads by id skips what commits late. Positions are
given after the commit, under one lock, and become visible in their own order. The database does all of it in one call
(events/sql/events_number_committed.sql).
"""

from django.db import connection

from events.outbox import RECORDED_CHANNEL
from postgres.notify_loop import NotifyLoop

# Live streams listen here; the payload is the position given last.
POSITIONED_CHANNEL = "slipway_event_positioned"
APPLICATION_NAME = "slipway-relay"
BATCH_SIZE = 500
# NOTIFY is a hint: what it missed is found by the next look.
POLL_SECONDS = 2.0


def number_committed(*, limit: int = BATCH_SIZE) -> int:
    """Give committed events their position and return how many: all, or no fewer than `limit`.

    Any number of relays may run at once.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_number_committed(%s)", [limit])
        count: int = cursor.fetchone()[0]
    return count


def number_all(*, limit: int = BATCH_SIZE) -> int:
    """Give every committed event its position, a batch at a time, and return how many."""
    total = 0
    while count := number_committed(limit=limit):
        total += count
    return total


class Relay:
    """Numbers events as they are committed, until it is stopped; outlives an outage of Postgres."""

    def __init__(self, *, look_seconds: float = POLL_SECONDS) -> None:
        self.numbered = 0
        self._rounds = NotifyLoop(
            self._number,
            purpose="numbering events",
            channel=RECORDED_CHANNEL,
            application_name=APPLICATION_NAME,
            seconds=look_seconds,
        )

    def run(self) -> None:
        """Return only after `stop()`; a relay runs once."""
        self._rounds.run()

    def stop(self) -> None:
        """End the run after the batch in hand; safe in a signal handler."""
        self._rounds.stop()

    def _number(self) -> None:
        count = BATCH_SIZE
        # A batch that isn't full has left nothing; what was committed since rings.
        while count >= BATCH_SIZE and not self._rounds.is_stopped:
            count = number_committed()
            self.numbered += count
