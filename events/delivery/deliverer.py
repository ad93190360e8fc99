"""Delivers what the relay queued, for as long as it runs: claim, send, mark. Needs Postgres only.

Each channel that has something due gets a thread of its own, so that none waits for another's slow receiver.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import psycopg
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction

from events.channels.base import Kind, Message, Receipt, Sender, SendFailed
from events.channels.registry import UnknownKind, kind_of
from events.delivery.channel_operations import all_options, disable
from events.delivery.claim_sender import ClaimSender
from events.delivery.claims import (
    DELIVERIES_CHANNEL,
    Claim,
    Claimed,
    Mark,
    claim,
    due_channels,
    mark,
    release,
)
from events.delivery.grouping import group
from events.models import Channel
from postgres.clock import database_now
from postgres.errors import is_outage
from postgres.notify_loop import NotifyLoop

logger = logging.getLogger(__name__)

APPLICATION_NAME = "slipway-deliver"
# Retries fall due without a ring; a ring that was missed is found by then, too.
LOOK_SECONDS = 1.0
# So soon a changed address or time limit counts.
_CHANNEL_SECONDS = 1.0
# Each has a connection to Postgres while it works.
MAX_CHANNELS_AT_ONCE = 32


class Deliverer:
    """Looks for channels with something due, and serves each in a thread; outlives an outage of Postgres."""

    def __init__(self, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._rounds = NotifyLoop(
            self._look,
            purpose="delivering events",
            channel=DELIVERIES_CHANNEL,
            application_name=APPLICATION_NAME,
            seconds=look_seconds,
        )
        self._threads: dict[int, threading.Thread] = {}
        self._delivered = 0
        self._lock = threading.Lock()

    @property
    def delivered(self) -> int:
        """How many deliveries were made so far."""
        return self._delivered

    def run(self) -> None:
        """Return only after `stop()`, when what was being sent is marked; a deliverer runs once."""
        self._rounds.run()
        for thread in self._threads.values():
            thread.join()

    def stop(self) -> None:
        """End the run after the messages in hand; safe in a signal handler."""
        self._rounds.stop()

    def _look(self) -> None:
        self._threads = {key: thread for key, thread in self._threads.items() if thread.is_alive()}
        for channel_id in due_channels(now=database_now()):
            if channel_id not in self._threads and len(self._threads) < MAX_CHANNELS_AT_ONCE:
                thread = threading.Thread(target=self._serve_channel, args=[channel_id], name=f"channel-{channel_id}")
                self._threads[channel_id] = thread
                thread.start()

    def _serve_channel(self, channel_id: int) -> None:
        run = ChannelRun(channel_id, is_stopped=lambda: self._rounds.is_stopped)
        try:
            run.serve()
        except (DatabaseError, InterfaceError, psycopg.Error) as error:
            if not is_outage(error):
                logger.exception("A channel could not be served", extra={"channel_id": channel_id})
        finally:
            connection.close()
            with self._lock:
                self._delivered += run.delivered


def deliver_all_due() -> int:
    """Deliver what is due now on all channels, in this thread, and return how many were delivered."""
    total = 0
    for channel_id in due_channels(now=database_now()):
        run = ChannelRun(channel_id, is_stopped=lambda: False)
        run.serve()
        total += run.delivered
    return total


class ChannelRun:
    """Serves one channel, claim after claim, until nothing of it is due; keeps its connections meanwhile."""

    def __init__(self, channel_id: int, *, is_stopped: Callable[[], bool]) -> None:
        self.delivered = 0
        self._channel_id = channel_id
        self._is_stopped = is_stopped
        self._sender: Sender | None = None
        self._opened_as: object = None
        self._stored: Channel | None = None
        self._read_at = -math.inf

    def serve(self) -> None:
        """Return when nothing is due, or when told to stop."""
        try:
            while not self._is_stopped() and (present := self._claim()):
                self._handle(present)
        finally:
            self._close()

    def _claim(self) -> "ClaimClock | None":
        channel = self._channel()
        now = database_now()
        until = now + timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
        taken = claim(channel, now=now, until=until) if channel else None
        return ClaimClock(claim=taken, now=now) if taken else None

    def _channel(self) -> Channel | None:
        """Return the channel, read anew every second. That it may be sent to is asked at each claim."""
        if time.monotonic() - self._read_at > _CHANNEL_SECONDS:
            self._stored = Channel.objects.filter(pk=self._channel_id).first()
            self._read_at = time.monotonic()
        return self._stored

    def _handle(self, present: "ClaimClock") -> None:
        channel = present.claim.channel
        try:
            kind = kind_of(channel.kind)
            sender = self._opened(kind, channel)
        except UnknownKind as error:
            _refuse(present, str(error))
            return
        except SendFailed as error:
            self._send(present, kind, _Unusable(error))
            return
        self._send(present, kind, sender)

    def _send(self, present: "ClaimClock", kind: Kind, sender: Sender) -> None:
        turn = present.turn(kind, sender, is_stopped=self._is_stopped)
        for marks in turn.run(present.units(kind)):
            self.delivered += sum(each.is_delivered for each in marks)
            _insist(partial(_write, turn, marks))
        _insist(partial(_finish, turn))

    def _opened(self, kind: Kind, channel: Channel) -> Sender:
        """Return the sender; another one where the channel was changed since."""
        as_now = (channel.kind, channel.options, channel.sealed_options, channel.timeout_seconds)
        if self._sender is None or self._opened_as != as_now:
            self._close()
            self._sender = kind.open(all_options(channel), timeout_seconds=channel.timeout_seconds)
            self._opened_as = as_now
        return self._sender

    def _close(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()


class ClaimClock:
    """A claim, and a clock that runs on from the database's without asking it."""

    def __init__(self, *, claim: Claim, now: datetime) -> None:
        self.claim = claim
        self._now = now
        self._began = time.monotonic()

    def now(self) -> datetime:
        """Return the time; for threads that have no connection."""
        return self._now + timedelta(seconds=time.monotonic() - self._began)

    def turn(self, kind: Kind, sender: Sender, *, is_stopped: Callable[[], bool]) -> ClaimSender:
        """Return what sends it. Half the lease is for beginning, the other half for ending: a send is no longer."""
        return ClaimSender(
            claim=self.claim,
            kind=kind,
            sender=sender,
            ends_at=self._began + settings.DELIVERY_LEASE_SECONDS / 2,
            divisor=settings.DELIVERY_RETRY_DIVISOR,
            clock=self.now,
            is_stopped=is_stopped,
        )

    def units(self, kind: Kind) -> list[list[Claimed]]:
        """Return what goes out now, each unit as one message; what has to wait is given back."""
        if not kind.is_grouped:
            return [[delivery] for delivery in self.claim.deliveries]
        window = timedelta(seconds=settings.DELIVERY_FLOOD_SECONDS)
        found = group(self.claim, now=self.now(), window=window)
        for until, deliveries in found.held.items():
            release(self.claim, deliveries, next_attempt_at=until)
        return found.units


class _Unusable:
    """Stands in for a sender that could not be opened: each message fails for the same reason."""

    def __init__(self, error: SendFailed) -> None:
        self._error = error

    def send(self, messages: Sequence[Message]) -> Receipt:
        raise self._error

    def close(self) -> None:
        pass


def _write(turn: ClaimSender, marks: Sequence[Mark]) -> None:
    with transaction.atomic():
        # The channel's row first, as a claim locks it: the other way round two processes could wait for each other.
        Channel.objects.filter(pk=turn.claim.channel.pk).update(**_health(turn, marks))
        mark(turn.claim, marks)


def _health(turn: ClaimSender, marks: Sequence[Mark]) -> dict[str, object]:
    changes: dict[str, object] = {}
    if any(each.is_delivered for each in marks):
        changes |= {"last_success_at": marks[-1].at, "last_latency_ms": turn.latency_ms}
    if not all(each.is_delivered for each in marks):
        changes |= {"last_error_at": marks[-1].at, "last_error": turn.last_error}
    return changes


def _finish(turn: ClaimSender) -> None:
    if turn.unsent:
        release(turn.claim, turn.unsent)
    if turn.retry_after:
        Channel.objects.filter(pk=turn.claim.channel.pk).update(held_until=turn.clock() + turn.retry_after)
    if turn.gone:
        disable(turn.claim.channel, reason=f"The receiver wants no more events. {turn.gone}")


def _refuse(present: ClaimClock, reason: str) -> None:
    release(present.claim, present.claim.deliveries)
    disable(present.claim.channel, reason=reason)


def _insist(write: Callable[[], object]) -> None:
    """Write what came of a message that is out already, through a short outage too: else it is sent again."""
    for pause in (0.2, 0.5, 1, 2, 4, 8):
        try:
            write()
        except (DatabaseError, InterfaceError) as error:
            if not is_outage(error):
                raise
            connection.close()
            time.sleep(pause)
        else:
            return
    write()
