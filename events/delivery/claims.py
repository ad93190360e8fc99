"""Claims deliveries for a while, and marks what came of them: in batches, each a short transaction.

Nothing is sent here. A claim is a lease: whoever dies with it is waited for until it ends, then another takes over.
The database does both, each in one call (events/sql/events_claim.sql, events_mark.sql).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q

from events.channels.base import Message
from events.envelope import LoggedEvent
from events.models import Channel, Delivery, DeliveryState

# `manage.py deliver` listens here. The relay rings too, from within the database.
DELIVERIES_CHANNEL = "slipway_deliveries_due"
BATCH_SIZE = 200
HISTORY_LENGTH = 20


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """One delivery to be made, and how many attempts of it have failed."""

    id: int
    attempts: int
    message: Message

    @property
    def position(self) -> int:
        """Its place in the log."""
        return self.message.event.position or 0

    @property
    def workspace_id(self) -> UUID | None:
        """The workspace among whose events the order holds."""
        return self.message.event.workspace_id


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A channel, and a batch of its deliveries in the log's order, for as long as the lease lasts."""

    channel: Channel
    until: datetime
    deliveries: Sequence[Claimed]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one attempt came to. Without a next attempt a failed one is a dead letter."""

    delivery: Claimed
    is_delivered: bool
    at: datetime
    next_attempt_at: datetime | None = None
    entry: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> DeliveryState:
        """The delivery's state after it."""
        if self.is_delivered:
            return DeliveryState.DELIVERED
        return DeliveryState.WAITING if self.next_attempt_at else DeliveryState.DEAD


def announce_due() -> None:
    """Say on commit that something may be sent."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [DELIVERIES_CHANNEL])


def due_channels(*, now: datetime) -> list[int]:
    """Return the channels that have something to send now, or whose lease a dead process left behind."""
    deliveries = Delivery.objects.filter(channel_id=OuterRef("pk"))
    waiting = deliveries.filter(state=DeliveryState.WAITING, next_attempt_at__lte=now)
    left = deliveries.filter(state=DeliveryState.SENDING, leased_until__lte=now)
    # Three questions, each of which has a partial index of its own.
    is_due = Q(Exists(waiting.filter(attempts=0))) | Q(Exists(waiting.filter(attempts__gt=0))) | Q(Exists(left))
    return list(Channel.objects.sending(now=now).filter(is_due).order_by("pk").values_list("pk", flat=True))


def claim(channel: Channel, *, now: datetime, until: datetime, limit: int = BATCH_SIZE) -> Claim | None:
    """Take a batch of what is due. None where nothing is, or nothing may be sent, or another holds a claim of it.

    One claim a channel at a time keeps the order and bounds the concurrency, however many processes deliver.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_claim(%s, %s, %s, %s)", [channel.pk, limit, now, until])
        (rows,) = cursor.fetchone()
    if rows is None:
        return None
    return Claim(channel=channel, until=until, deliveries=[_claimed(row) for row in rows])


def mark(claim: Claim, marks: Sequence[Mark]) -> int:
    """Write what came of some of the claim's deliveries; return how many were still its own."""
    # One document for all: an array a column costs more to write out than the UPDATE takes.
    rows = json.dumps([_row(mark) for mark in marks])
    with connection.cursor() as cursor:
        cursor.execute("SELECT events_mark(%s, %s, %s)", [rows, claim.until, HISTORY_LENGTH])
        count: int = cursor.fetchone()[0]
    return count


def release(claim: Claim, deliveries: Sequence[Claimed], *, next_attempt_at: datetime | None = None) -> None:
    """Give back what was not sent; it counts as no attempt."""
    changes: dict[str, Any] = {"next_attempt_at": next_attempt_at} if next_attempt_at else {}
    held = Delivery.objects.filter(pk__in=[delivery.id for delivery in deliveries], state=DeliveryState.SENDING)
    held.filter(leased_until=claim.until).update(state=DeliveryState.WAITING, leased_until=None, **changes)


def _row(mark: Mark) -> dict[str, Any]:
    return {
        "id": mark.delivery.id,
        "state": mark.state,
        "attempts": mark.delivery.attempts + 1,
        "settled_at": None if mark.state == DeliveryState.WAITING else mark.at.isoformat(),
        "next_attempt_at": mark.next_attempt_at.isoformat() if mark.next_attempt_at else None,
        "entry": mark.entry,
    }


def _claimed(row: list[Any]) -> Claimed:
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
    return Claimed(id=delivery_id, attempts=attempts, message=Message(id=str(event_id), event=event))
