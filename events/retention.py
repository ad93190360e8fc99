"""Deletes old events and deliveries. Nothing else can delete an event. Positions are not used again."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from events.models import Channel, Delivery, DeliveryState, Event
from events.names import EventType

BATCH_SIZE = 5_000
_UNFINISHED = (DeliveryState.WAITING, DeliveryState.SENDING)


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """How many events were deleted, and how many old ones were kept because they are still needed."""

    deleted: int
    kept: int


def prune(*, before: datetime, dry_run: bool = False) -> PruneResult:
    """Delete the events recorded before this time, and their deliveries, one batch in each transaction."""
    count = deletable_events(before=before).count()
    kept = Event.objects.filter(created_at__lt=before).count() - count
    if dry_run:
        return PruneResult(deleted=count, kept=kept)
    deleted = 0
    while batch := delete_events(before=before):
        deleted += batch
    return PruneResult(deleted=deleted, kept=kept)


def deletable_events(*, before: datetime) -> QuerySet[Event]:
    """Return the events recorded before this time, oldest first.

    Left out are those without a position, those that a channel still has to deliver, and each workspace's last change
    of status, from which `manage.py verify_log` goes on; not the removal, after which nothing comes.
    """
    unfinished = Delivery.objects.filter(event_id=OuterRef("pk"), state__in=_UNFINISHED)
    later = Event.objects.filter(workspace_id=OuterRef("workspace_id"), is_move=True, version__gt=OuterRef("version"))
    is_over = Q(is_move=False) | Q(event_type=EventType.WORKSPACE_REMOVED) | Exists(later)
    positioned = Event.objects.filter(created_at__lt=before, position__isnull=False)
    return positioned.filter(is_over, ~Exists(unfinished)).order_by("position")


def delete_events(*, before: datetime) -> int:
    """Delete one batch of old events with their deliveries. Return how many events."""
    with transaction.atomic(), connection.cursor() as cursor:
        # The trigger event_goes_by_retention lets only a transaction with this setting delete events.
        cursor.execute("SELECT set_config('slipway.pruning', 'on', true)")
        # Unordered, for the index event_by_time.
        keys = list(deletable_events(before=before).order_by().values_list("pk", flat=True)[:BATCH_SIZE])
        Delivery.objects.filter(event_id__in=keys).delete()
        # Not by the ORM, which would read each event first.
        cursor.execute("DELETE FROM events_event WHERE id = ANY(%s)", [keys])
    return len(keys)


def finished_deliveries(*, before: datetime) -> QuerySet[Delivery]:
    """Return the deliveries that were delivered or given up before this time."""
    # The channels are listed for the index delivery_by_channel.
    channels = list(Channel.objects.values_list("pk", flat=True))
    return Delivery.objects.filter(channel_id__in=channels, settled_at__lt=before).exclude(state__in=_UNFINISHED)
