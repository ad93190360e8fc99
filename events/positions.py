"""How far the log of events reaches; a snapshot says so, and a client streams on from there."""

from datetime import datetime

from events.models import Event, PositionCounter


def last_position() -> int:
    """Return the position given last; 0 before the first.

    Read it before the rows of a snapshot: then no event at or before it is missing from them.
    """
    return PositionCounter.objects.values_list("last_position", flat=True).first() or 0


def oldest_unpositioned_at() -> datetime | None:
    """Return since when an event has waited for its position; None where none waits."""
    waiting = Event.objects.filter(position__isnull=True).order_by("id")
    return waiting.values_list("created_at", flat=True).first()


def count_unpositioned() -> int:
    """Return how many events wait for their position."""
    return Event.objects.filter(position__isnull=True).count()
