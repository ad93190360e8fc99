"""When a delivery is tried again: pure functions, so that the rule is a table."""

from datetime import timedelta

# After the first attempt, which is immediate (issue of the fan-out; the schedule of Standard Webhooks, drawn out).
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
MAX_ATTEMPTS = len(PAUSES) + 1
# A receiver that asks for more than this is as good as down.
LONGEST_RETRY_AFTER = timedelta(hours=12)
# Whole fleets fail at one moment: a fifth to either side spreads their retries.
_JITTER = 0.2


def pause_after(attempts: int, *, divisor: int, random: float) -> timedelta | None:
    """Return how long to wait after this many failed attempts; None where that was the last one.

    `random` is evenly spread over 0..1; `divisor` shortens the schedule for tests.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    return PAUSES[attempts - 1] / divisor * (1 - _JITTER + 2 * _JITTER * random)
