"""Looks whenever a channel of Postgres rings, and every few seconds anyway; outlives an outage of Postgres."""

import gc
import logging
from collections.abc import Callable
from contextlib import closing

import psycopg
from django.db import DatabaseError, InterfaceError, connection

from postgres.connections import NotifyListener
from postgres.errors import is_outage

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 10.0


class NotifyLoop:
    """Calls `look` until it is stopped. `purpose` says what that is for, where an outage is logged."""

    def __init__(
        self, look: Callable[[], None], *, purpose: str, channel: str, application_name: str, seconds: float
    ) -> None:
        self._look = look
        self._purpose = purpose
        self._channel = channel
        self._application_name = application_name
        self._seconds = seconds
        self._doorbell = NotifyListener()
        self._failures = 0

    @property
    def is_stopped(self) -> bool:
        """Whether `stop()` was called: a long look ends early then."""
        return self._doorbell.is_stopped

    def run(self) -> None:
        """Return only after `stop()`; rounds are gone once. Raises what is no outage."""
        # Everyone who listens would wait while Python looks through what Django loaded, in vain.
        gc.freeze()
        with closing(self._doorbell):
            while not self.is_stopped:
                try:
                    self._listen()
                except (DatabaseError, InterfaceError, psycopg.Error) as error:
                    if not is_outage(error):
                        raise
                    self._pause(error)

    def stop(self) -> None:
        """End the run after the look in hand; safe in a signal handler."""
        self._doorbell.stop()

    def _listen(self) -> None:
        with self._doorbell.listening(self._channel, application_name=self._application_name):
            while not self.is_stopped:
                self._look()
                self._report_recovery()
                # What rang before is answered by the next look: a NOTIFY is a hint, however often it came.
                self._doorbell.wait(seconds=self._seconds)

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            fields = {"purpose": self._purpose, "error": str(error).strip()}
            logger.warning("Postgres can't be used now, and is tried again.", extra=fields)
        connection.close()
        self._doorbell.wait(seconds=min(0.25 * 2**self._failures, _LONGEST_PAUSE_SECONDS))

    def _report_recovery(self) -> None:
        if self._failures:
            logger.info("Postgres is back.", extra={"purpose": self._purpose, "attempts": self._failures})
        self._failures = 0
