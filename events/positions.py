"""How far the log of events reaches; a snapshot says so, and a client streams on from there."""

from events.models import PositionCounter


def last_position() -> int:
    """Return the position given last; 0 before the first.

    Read it before the rows of a snapshot: then no event at or before it is missing from them.
    """
    return PositionCounter.objects.values_list("last_position", flat=True).first() or 0
