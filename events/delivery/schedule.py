"""When a failed delivery is tried again."""

from datetime import datetime, timedelta

from events.channels.base import SendFailed

# After the first attempt, which is immediate. The schedule that Standard Webhooks recommends, extended.
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
# Many deliveries fail at the same moment: spread their retries by a fifth to either side.
_JITTER = 0.2


def next_attempt_at(
    *, attempts: int, failure: SendFailed, now: datetime, divisor: int, random: float
) -> datetime | None:
    """Return when to try again after this many failed attempts, or None to make the delivery a dead letter.

    The pause is the schedule's own, or the longer one that the receiver asked for. `divisor` shortens the schedule
    for tests. `random` is evenly distributed over 0..1.
    """
    if failure.is_permanent or attempts >= MAX_ATTEMPTS:
        return None
    pause = PAUSES[attempts - 1] / divisor * (1 - _JITTER + 2 * _JITTER * random)
    return now + max(pause, failure.retry_after or timedelta(0))
