"""Wakes up when deliveries are due and serves each channel in its own thread. Needs only Postgres.

A slow receiver delays only its own channel. What happens to one channel's deliveries is in channel_run.py: claim a
batch (claims.py), hold some of it (grouping.py), send the rest (claim_sender.py), store the outcomes (outcomes.py).
"""

import logging
import threading

import psycopg
from django.db import DatabaseError, InterfaceError, connection

from events.delivery.channel_run import ChannelRun
from events.delivery.claims import DELIVERIES_CHANNEL, due_channels
from postgres.clock import database_now
from postgres.errors import is_outage
from postgres.notify_loop import NotifyLoop

logger = logging.getLogger(__name__)

APPLICATION_NAME = "slipway-deliver"
# Retries become due without a notification, and a notification may be missed.
LOOK_SECONDS = 1.0
# Each channel that is being served uses one connection to Postgres.
MAX_CHANNELS_AT_ONCE = 32


class Deliverer:
    """Serves the channels that have something due until `stop()` is called. Survives an outage of Postgres.

    `delivered` counts the deliveries made. A deliverer can run only once.
    """

    def __init__(self, *, look_seconds: float = LOOK_SECONDS) -> None:
        self.delivered = 0
        self._loop = NotifyLoop(
            self._serve_due_channels,
            purpose="delivering events",
            channel=DELIVERIES_CHANNEL,
            application_name=APPLICATION_NAME,
            poll_seconds=look_seconds,
        )
        self._threads: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Return after `stop()`, when the messages that were being sent are marked."""
        self._loop.run()
        for thread in self._threads.values():
            thread.join()

    def stop(self) -> None:
        """Let `run()` return after the messages that are being sent. Safe in a signal handler."""
        self._loop.stop()

    def _serve_due_channels(self) -> None:
        self._threads = {key: thread for key, thread in self._threads.items() if thread.is_alive()}
        for channel_id in due_channels(now=database_now()):
            if channel_id not in self._threads and len(self._threads) < MAX_CHANNELS_AT_ONCE:
                thread = threading.Thread(target=self._serve_channel, args=[channel_id], name=f"channel-{channel_id}")
                self._threads[channel_id] = thread
                thread.start()

    def _serve_channel(self, channel_id: int) -> None:
        channel_run = ChannelRun(channel_id, is_stopped=lambda: self._loop.is_stopped)
        try:
            channel_run.run()
        except (DatabaseError, InterfaceError, psycopg.Error) as error:
            # The loop logs outages.
            if not is_outage(error):
                logger.exception("A channel could not be served", extra={"channel_id": channel_id})
        finally:
            connection.close()
            with self._lock:
                self.delivered += channel_run.delivered


def deliver_all_due() -> int:
    """Deliver what is due now on all channels, in this thread. Return the number of deliveries made."""
    total = 0
    for channel_id in due_channels(now=database_now()):
        channel_run = ChannelRun(channel_id, is_stopped=lambda: False)
        channel_run.run()
        total += channel_run.delivered
    return total
