"""How views, commands and tasks queue a Celery task: on commit, and without failing if the broker is down."""

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from celery import Task
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

# After a failed send, this process sends nothing for this long: each send would wait for the broker.
PAUSE_SECONDS = 5.0
_silent_until = 0.0


def enqueue(task: "Task[Any, Any]", **arguments: Any) -> None:
    """Send the task when the open transaction commits, or now if none is open.

    If that fails the work is not lost: its row stays due, and Celery beat queues it again.
    """
    on_commit(lambda: _send(task, arguments))


def on_commit(dispatch: Callable[[], None]) -> None:
    """Look for work to queue when the open transaction commits, or now if none is open.

    An error is only logged, since what was committed is not undone: Celery beat looks again.
    """
    transaction.on_commit(dispatch, robust=True)


def room_in(queue: str, *, most: int) -> int:
    """Return how many messages a queue that may hold `most` has room for; 0 if the broker is down."""
    if time.monotonic() < _silent_until:
        return 0
    try:
        return max(most - queue_length(queue), 0)
    except (redis.RedisError, OSError) as error:
        _be_silent("The broker does not answer; beat queues the task again", queue=queue, error=error)
        return 0


def queue_length(queue: str) -> int:
    """Return how many messages wait in a queue, without those that workers have taken. Raises RedisError or OSError."""
    return int(_broker().llen(f"{settings.REDIS_PREFIX}{queue}"))


@cache
def _broker() -> redis.Redis:
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    return redis.Redis.from_url(settings.CELERY_BROKER_URL, **timeouts)


def _send(task: "Task[Any, Any]", arguments: dict[str, Any]) -> None:
    if time.monotonic() < _silent_until:
        return
    try:
        task.apply_async(kwargs=arguments)
    except (OperationalError, OSError) as error:
        _be_silent("A task could not be queued; beat queues it again", task=task.name, error=error)


def _be_silent(message: str, *, error: Exception, **fields: str) -> None:
    global _silent_until
    _silent_until = time.monotonic() + PAUSE_SECONDS
    logger.warning(message, extra={**fields, "error": str(error)})
