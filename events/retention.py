"""Deletes old events, which nothing else can do. Their positions are not used again."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from events.models import Delivery, DeliveryState, Event

BATCH_SIZE = 5_000
_UNFINISHED = (DeliveryState.WAITING, DeliveryState.SENDING)


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """How many events were deleted, and how many old ones were kept because they are still needed."""

    deleted: int
    kept: int


def prune(*, before: datetime, dry_run: bool = False) -> PruneResult:
    """Delete the events recorded before this time, and their deliveries, one batch in each transaction.

    Keep those without a position, and those that a channel still has to deliver.
    """
    unfinished = Delivery.objects.filter(event_id=OuterRef("pk"), state__in=_UNFINISHED)
    positioned = Event.objects.filter(created_at__lt=before, position__isnull=False)
    deletable = positioned.filter(~Exists(unfinished)).order_by("position")
    count = deletable.count()
    kept = Event.objects.filter(created_at__lt=before).count() - count
    if dry_run:
        return PruneResult(deleted=count, kept=kept)
    deleted = 0
    while batch := _delete_batch(deletable):
        deleted += batch
    return PruneResult(deleted=deleted, kept=kept)


def _delete_batch(deletable: QuerySet[Event]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        # The trigger event_goes_by_retention lets only a transaction with this setting delete events.
        cursor.execute("SELECT set_config('slipway.pruning', 'on', true)")
        keys = list(deletable.values_list("pk", flat=True)[:BATCH_SIZE])
        Delivery.objects.filter(event_id__in=keys).delete()
        # Not by the ORM, which would read each event first.
        cursor.execute("DELETE FROM events_event WHERE id = ANY(%s)", [keys])
    return len(keys)
