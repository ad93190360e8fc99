"""Gives committed events their position and queues their deliveries.

Positions have no gaps, and no event appears before a position that a reader has already passed. IDs can't do that: they
are given in order, but not committed in order. A position is given after the commit, under one lock. The database does
it in one call (events/sql/events_number_committed.sql).
"""

from django.db import connection

from events.outbox import RECORDED_CHANNEL
from postgres.notify_loop import NotifyLoop

# Live streams listen on this channel; the payload is the position given last.
POSITIONED_CHANNEL = "slipway_event_positioned"
APPLICATION_NAME = "slipway-relay"
BATCH_SIZE = 500
# NOTIFY is only a hint, so look without one this often.
POLL_SECONDS = 2.0


def number_committed(*, limit: int = BATCH_SIZE) -> int:
    """Give committed events their position and return how many: all of them, or at least `limit`.

    Any number of relays may run at once.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_number_committed(%s)", [limit])
        count: int = cursor.fetchone()[0]
    return count


def number_all(*, limit: int = BATCH_SIZE) -> int:
    """Give every committed event its position, one batch at a time, and return how many."""
    total = 0
    while count := number_committed(limit=limit):
        total += count
    return total


class Relay:
    """Numbers events as they are committed, through outages of Postgres, until it is stopped."""

    def __init__(self, *, poll_seconds: float = POLL_SECONDS) -> None:
        self.numbered = 0
        self._loop = NotifyLoop(
            self._number,
            purpose="numbering events",
            channel=RECORDED_CHANNEL,
            application_name=APPLICATION_NAME,
            poll_seconds=poll_seconds,
        )

    def run(self) -> None:
        """Run until `stop()`. A relay runs once."""
        self._loop.run()

    def stop(self) -> None:
        """End the run after the current batch. Safe in a signal handler."""
        self._loop.stop()

    def _number(self) -> None:
        count = BATCH_SIZE
        # A batch that isn't full leaves nothing. Events that were committed meanwhile notify.
        while count >= BATCH_SIZE and not self._loop.is_stopped:
            count = number_committed()
            self.numbered += count
