"""Claims deliveries for a limited time and stores their outcomes, each in one statement and a short transaction.

A claim is a lease: if the process that holds it dies, another takes over when the lease ends. The database functions
that do both are events/sql/events_claim.sql and events_mark.sql. Nothing is sent here.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import Exists, OuterRef, Q

from events.channels.base import Message
from events.envelope import LoggedEvent
from events.models import Channel, Delivery, DeliveryState

# `manage.py deliver` listens to this Postgres channel. The relay notifies it from a database function.
DELIVERIES_CHANNEL = "slipway_deliveries_due"
BATCH_SIZE = 200
# How many attempts `Delivery.history` keeps.
HISTORY_LENGTH = 20
_CLAIM = "SELECT present, events_claim(%s, %s, present, present + %s) FROM coalesce(%s, clock_timestamp()) AS present"
_MARK = "SELECT events_mark(%s, %s, %s)"


@dataclass(kw_only=True, slots=True)
class ClaimedDelivery(Message):
    """A message to send, with the delivery that it belongs to and how many of its attempts have failed."""

    delivery_id: int
    attempts: int

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Self:
        """Return the delivery from a row of the database function `events_claim`."""
        delivery_id, attempts, event_id, position, event_type, workspace_id, version, payload, created_at, subject = row
        event = LoggedEvent(
            position=position,
            event_type=event_type,
            workspace_id=UUID(workspace_id) if workspace_id else None,
            version=version,
            payload=payload,
            created_at=datetime.fromisoformat(created_at),
            subject=subject,
        )
        return cls(id=str(event_id), event=event, delivery_id=delivery_id, attempts=attempts)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A batch of one channel's deliveries, in the log's order, that only this process may send until the lease ends."""

    channel: Channel
    deliveries: Sequence[ClaimedDelivery]
    claimed_at: datetime
    leased_until: datetime
    _monotonic: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """Return the database's time without asking it: sending threads have no connection."""
        return self.claimed_at + timedelta(seconds=time.monotonic() - self._monotonic)


@dataclass(kw_only=True, slots=True)
class Mark:
    """The outcome of one attempt. A failed one without `next_attempt_at` makes the delivery a dead letter.

    `entry` is appended to `Delivery.history`, with `at`: {ok, latency_ms, answer, response, error}.
    """

    delivery: ClaimedDelivery
    is_delivered: bool
    at: datetime
    next_attempt_at: datetime | None = None
    entry: dict[str, Any] = field(default_factory=dict)


def announce_due() -> None:
    """Wake up `manage.py deliver` when the current transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [DELIVERIES_CHANNEL])


def due_channels(*, now: datetime) -> list[int]:
    """Return the IDs of channels that have a delivery to send now, or an expired lease."""
    deliveries = Delivery.objects.filter(channel_id=OuterRef("pk"))
    waiting = deliveries.filter(state=DeliveryState.WAITING, next_attempt_at__lte=now)
    expired = deliveries.filter(state=DeliveryState.SENDING, leased_until__lte=now)
    # Each of the three conditions has its own partial index.
    is_due = Q(Exists(waiting.filter(attempts=0))) | Q(Exists(waiting.filter(attempts__gt=0))) | Q(Exists(expired))
    return list(Channel.objects.sending(now=now).filter(is_due).order_by("pk").values_list("pk", flat=True))


def claim(channel: Channel, *, lease: timedelta, now: datetime | None = None, limit: int = BATCH_SIZE) -> Claim | None:
    """Claim up to `limit` due first attempts and as many due retries of a channel. `now` is the database's, if None.

    Return None if nothing is due, the channel may not be sent to, or another process holds a claim of it: one claim
    per channel keeps the order and bounds the concurrency, however many processes deliver.
    """
    parameters: list[Any] = [channel.pk, limit, lease, now]
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, parameters)
        claimed_at, rows = cursor.fetchone()
    if rows is None:
        return None
    deliveries = [ClaimedDelivery.from_row(row) for row in rows]
    return Claim(channel=channel, deliveries=deliveries, claimed_at=claimed_at, leased_until=claimed_at + lease)


def mark(claim: Claim, marks: Sequence[Mark]) -> int:
    """Store the outcomes of some of the claim's deliveries. Return how many the claim still held."""
    rows = []
    for each in marks:
        row: dict[str, Any] = {"id": each.delivery.delivery_id, "entry": {"at": each.at, **each.entry}}
        if each.is_delivered:
            row["state"] = DeliveryState.DELIVERED.value
        elif each.next_attempt_at is None:
            row["state"] = DeliveryState.DEAD.value
        else:
            row |= {"state": DeliveryState.WAITING.value, "next_attempt_at": each.next_attempt_at}
        rows.append(row)
    with connection.cursor() as cursor:
        # One JSON document for all rows: adapting an array for each column takes longer than the UPDATE.
        cursor.execute(_MARK, [orjson.dumps(rows).decode(), claim.leased_until, HISTORY_LENGTH])
        count: int = cursor.fetchone()[0]
    return count


def release(claim: Claim, deliveries: Sequence[ClaimedDelivery], *, next_attempt_at: datetime | None = None) -> None:
    """Give back deliveries that were not attempted. With `next_attempt_at`, they are due only then."""
    changes: dict[str, Any] = {"next_attempt_at": next_attempt_at} if next_attempt_at else {}
    still_held = Delivery.objects.filter(
        pk__in=[delivery.delivery_id for delivery in deliveries],
        state=DeliveryState.SENDING,
        leased_until=claim.leased_until,
    )
    still_held.update(state=DeliveryState.WAITING, leased_until=None, **changes)
