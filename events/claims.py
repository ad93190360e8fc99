"""Claims deliveries for a while, and marks what came of them: in batches, each a short transaction.

Nothing is sent here. A claim is a lease: whoever dies with it is waited for until it ends, then another takes over.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, Q
from psycopg.types.json import Jsonb

from events.channels.base import Message
from events.frames import LoggedEvent
from events.models import Channel, Delivery, DeliveryState

BATCH_SIZE = 100
HISTORY_LENGTH = 20

# First attempts in the log's order; later ones when they are due. Both halves read their own partial index and stop.
_CLAIM = """
WITH due AS (
    (SELECT id FROM events_delivery
     WHERE channel_id = %(channel)s AND state = 'waiting' AND attempts = 0 AND next_attempt_at <= %(now)s
     ORDER BY position LIMIT %(limit)s)
    UNION ALL
    (SELECT id FROM events_delivery
     WHERE channel_id = %(channel)s AND state = 'waiting' AND attempts > 0 AND next_attempt_at <= %(now)s
     ORDER BY next_attempt_at LIMIT %(limit)s)
)
UPDATE events_delivery AS delivery SET state = 'sending', leased_until = %(until)s
FROM due, events_event AS event
WHERE delivery.id = due.id AND event.id = delivery.event_id
RETURNING delivery.id, delivery.attempts, event.id, event.position, event.event_type, event.workspace_id,
    event.version, event.payload, event.created_at, event.subject
"""

# Only what is still this claim's: whoever took over knows better.
_MARK = """
UPDATE events_delivery AS delivery
SET state = new.state, attempts = new.attempts, leased_until = NULL, settled_at = new.settled_at,
    next_attempt_at = coalesce(new.next_attempt_at, delivery.next_attempt_at),
    history = CASE WHEN jsonb_array_length(delivery.history) < %(history)s THEN delivery.history
        ELSE delivery.history - 0 END || new.entry
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(attempts)s::smallint[], %(settled)s::timestamptz[],
    %(next)s::timestamptz[], %(entries)s::jsonb[]) AS new (id, state, attempts, settled_at, next_attempt_at, entry)
WHERE delivery.id = new.id AND delivery.state = 'sending' AND delivery.leased_until = %(until)s
"""


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
    """A channel as it is now, and a batch of its deliveries in the log's order, for as long as the lease lasts."""

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


def due_channels(*, now: datetime) -> list[int]:
    """Return the channels that have something to send now, or whose lease a dead process left behind."""
    deliveries = Delivery.objects.filter(channel_id=OuterRef("pk"))
    waiting = deliveries.filter(state=DeliveryState.WAITING, next_attempt_at__lte=now)
    left = deliveries.filter(state=DeliveryState.SENDING, leased_until__lte=now)
    # Three questions, each of which has a partial index of its own.
    is_due = Q(Exists(waiting.filter(attempts=0))) | Q(Exists(waiting.filter(attempts__gt=0))) | Q(Exists(left))
    return list(Channel.objects.sending(now=now).filter(is_due).order_by("pk").values_list("pk", flat=True))


def claim(*, channel_id: int, now: datetime, until: datetime, limit: int = BATCH_SIZE) -> Claim | None:
    """Take a batch of what is due. None where nothing is, or where another holds a claim of this channel.

    One claim a channel at a time keeps the order and bounds the concurrency, however many processes deliver.
    """
    with transaction.atomic():
        ready = Channel.objects.sending(now=now).select_for_update(no_key=True, skip_locked=True)
        channel = ready.filter(pk=channel_id).first()
        # Asked under the lock, in a second statement: what another claimed meanwhile is seen.
        if channel is None or not _is_free(channel_id, now):
            return None
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, {"channel": channel_id, "now": now, "until": until, "limit": limit})
            rows = cursor.fetchall()
    if not rows:
        return None
    deliveries = sorted((_claimed(row) for row in rows), key=lambda delivery: delivery.position)
    return Claim(channel=channel, until=until, deliveries=deliveries)


def mark(claim: Claim, marks: Sequence[Mark]) -> int:
    """Write what came of some of the claim's deliveries; return how many were still its own."""
    values: dict[str, Any] = {
        "ids": [mark.delivery.id for mark in marks],
        "states": [str(mark.state) for mark in marks],
        "attempts": [mark.delivery.attempts + 1 for mark in marks],
        "settled": [None if mark.state == DeliveryState.WAITING else mark.at for mark in marks],
        "next": [mark.next_attempt_at for mark in marks],
        "entries": [Jsonb([mark.entry]) for mark in marks],
        "until": claim.until,
        "history": HISTORY_LENGTH,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MARK, values)
        count: int = cursor.rowcount
    return count


def release(claim: Claim, deliveries: Sequence[Claimed], *, next_attempt_at: datetime | None = None) -> None:
    """Give back what was not sent; it counts as no attempt."""
    changes: dict[str, Any] = {"next_attempt_at": next_attempt_at} if next_attempt_at else {}
    held = Delivery.objects.filter(pk__in=[delivery.id for delivery in deliveries], state=DeliveryState.SENDING)
    held.filter(leased_until=claim.until).update(state=DeliveryState.WAITING, leased_until=None, **changes)


def _is_free(channel_id: int, now: datetime) -> bool:
    """Tell whether nobody holds a claim; take back what a dead process left."""
    sending = Delivery.objects.filter(channel_id=channel_id, state=DeliveryState.SENDING)
    counted = sending.aggregate(held=Count("pk", filter=Q(leased_until__gt=now)), left=Count("pk"))
    if counted["held"]:
        return False
    if counted["left"]:
        sending.update(state=DeliveryState.WAITING, leased_until=None)
    return True


def _claimed(row: tuple[Any, ...]) -> Claimed:
    delivery_id, attempts, event_id, position, event_type, workspace_id, version, payload, created_at, subject = row
    event = LoggedEvent(
        position=position,
        event_type=event_type,
        workspace_id=workspace_id,
        version=version,
        # Django's connections hand JSON over as text.
        payload=json.loads(payload),
        created_at=created_at,
    )
    message = Message(id=str(event_id), event=event, subject=json.loads(subject))
    return Claimed(id=delivery_id, attempts=attempts, message=message)
