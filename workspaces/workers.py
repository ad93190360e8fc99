"""Asks the broker which workers are alive."""

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

LAUNCH_QUEUE = "launch"
# A busy machine may take longer than the first to answer; refusing it for that would be wrong.
_PATIENCE_SECONDS = (1.0, 3.0)


class NoWorker(Exception):
    """Nobody would do the work; the message says what to do."""


def require_worker(queue: str) -> None:
    """Raise NoWorker unless a worker that takes from this queue answers."""
    for seconds in _PATIENCE_SECONDS:
        if queue in _consumed_queues(seconds=seconds):
            return
    raise NoWorker(f"No {queue} worker is alive. Start one with `make up`, or `celery -A config worker -Q {queue}`.")


def _consumed_queues(*, seconds: float) -> set[str]:
    try:
        answers = current_app.control.inspect(timeout=seconds).active_queues() or {}
    except (OperationalError, RedisError, OSError) as error:
        raise NoWorker(
            f"The workers can't be asked, since Redis does not answer: {error}. Check REDIS_URL, or run `make up`."
        ) from error
    return {queue["name"] for queues in answers.values() for queue in queues}
