"""Runs a function on each NOTIFY of a channel and every few seconds, through outages of Postgres."""

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
    """Calls `work` until it is stopped. `purpose` says in the log what an outage interrupts."""

    def __init__(
        self, work: Callable[[], None], *, purpose: str, channel: str, application_name: str, poll_seconds: float
    ) -> None:
        self._work = work
        self._purpose = purpose
        self._channel = channel
        self._application_name = application_name
        self._poll_seconds = poll_seconds
        self._listener = NotifyListener()
        self._failures = 0

    @property
    def is_stopped(self) -> bool:
        """Whether `stop()` was called. Long work should end early then."""
        return self._listener.is_stopped

    def run(self) -> None:
        """Run until `stop()`; a loop runs once. Raises every error that is not an outage."""
        # Keep the garbage collector from searching what Django has loaded: all listeners would wait for it.
        gc.freeze()
        with closing(self._listener):
            while not self.is_stopped:
                try:
                    self._listen_and_work()
                except (DatabaseError, InterfaceError, psycopg.Error) as error:
                    if not is_outage(error):
                        raise
                    self._failures += 1
                    if self._failures == 1:
                        fields = {"purpose": self._purpose, "error": str(error).strip()}
                        logger.warning("Postgres can't be used now, and is tried again.", extra=fields)
                    connection.close()
                    self._listener.wait(seconds=min(0.25 * 2**self._failures, _LONGEST_PAUSE_SECONDS))

    def stop(self) -> None:
        """End the run after the current work. Safe in a signal handler."""
        self._listener.stop()

    def _listen_and_work(self) -> None:
        with self._listener.listening(self._channel, application_name=self._application_name):
            while not self.is_stopped:
                self._work()
                if self._failures:
                    logger.info("Postgres is back.", extra={"purpose": self._purpose, "attempts": self._failures})
                    self._failures = 0
                # A notification that came during the work is still there, so this returns at once.
                self._listener.wait(seconds=self._poll_seconds)
