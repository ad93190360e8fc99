"""How far the event log reaches. A snapshot says it, and a client streams on from there."""

from datetime import datetime

from events.models import Event, PositionCounter


def last_position() -> int:
    """Return the log's last position, 0 if it is empty.

    Read it before the rows of a snapshot, so that the rows contain every event up to it.
    """
    return PositionCounter.objects.values_list("last_position", flat=True).first() or 0


def oldest_unpositioned_at() -> datetime | None:
    """Return when the oldest event without a position was recorded; None if all have one."""
    waiting = Event.objects.filter(position__isnull=True).order_by("id")
    return waiting.values_list("created_at", flat=True).first()


def count_unpositioned() -> int:
    """Return how many events have no position yet."""
    return Event.objects.filter(position__isnull=True).count()
