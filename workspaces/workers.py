"""Asks Celery which workers are running."""

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

LAUNCH_QUEUE = "launch"
STOP_QUEUE = "stop"
SWEEP_QUEUE = "sweep"
QUEUES = (LAUNCH_QUEUE, STOP_QUEUE, SWEEP_QUEUE)
# A busy worker may need longer than the first timeout to answer.
_TIMEOUTS_SECONDS = (1.0, 3.0)


class NoWorker(Exception):
    """No worker takes tasks from the queue; the message says what to do."""


def require_worker(queue: str) -> None:
    """Raise NoWorker unless a worker answers that takes tasks from this queue. Takes up to four seconds."""
    for seconds in _TIMEOUTS_SECONDS:
        try:
            answers = current_app.control.inspect(timeout=seconds).active_queues() or {}
        except (OperationalError, RedisError, OSError) as error:
            raise NoWorker(
                f"The workers can't be asked, since Redis does not answer: {error}. Check REDIS_URL, or run `make up`."
            ) from error
        if queue in {consumed["name"] for queues in answers.values() for consumed in queues}:
            return
    pool = "" if queue == SWEEP_QUEUE else " --pool threads"
    command = f"python -m celery -A config worker -Q {queue}{pool}"
    raise NoWorker(f"No {queue} worker is alive. Start one with `make up`, or `{command}`.")
