"""Retention: the one way in which events leave the log. Positions are never given again."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from events.models import Delivery, DeliveryState, Event

BATCH_SIZE = 5_000
_OPEN = (DeliveryState.WAITING, DeliveryState.SENDING)


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """How many events were deleted, and how many are old enough but wait for something."""

    deleted: int
    kept: int


def prune(*, before: datetime, dry_run: bool = False) -> PruneResult:
    """Delete the events from before this time with their deliveries, a batch a transaction.

    Kept is what has no position yet, and what a channel still waits for.
    """
    old, due = _old(before), _due(before)
    count = due.count()
    kept = old.count() - count
    if dry_run:
        return PruneResult(deleted=count, kept=kept)
    deleted = 0
    while batch := _delete_batch(before):
        deleted += batch
    return PruneResult(deleted=deleted, kept=kept)


def _old(before: datetime) -> QuerySet[Event]:
    return Event.objects.filter(created_at__lt=before)


def _due(before: datetime) -> QuerySet[Event]:
    awaited = Delivery.objects.filter(event_id=OuterRef("pk"), state__in=_OPEN)
    return _old(before).filter(position__isnull=False).filter(~Exists(awaited))


def _delete_batch(before: datetime) -> int:
    with transaction.atomic():
        _open_the_door()
        keys = list(_due(before).order_by("position").values_list("pk", flat=True)[:BATCH_SIZE])
        Delivery.objects.filter(event_id__in=keys).delete()
        # Not the ORM's delete: it would read each event before.
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM events_event WHERE id = ANY(%s)", [keys])
    return len(keys)


def _open_the_door() -> None:
    """Let this transaction delete events; the trigger event_goes_by_retention asks for it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('slipway.pruning', 'on', true)")
