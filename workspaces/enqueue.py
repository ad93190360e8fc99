"""How views, commands and tasks queue a Celery task: on commit, and without failing if the broker is down."""

import logging
import time
from typing import Any

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

# After a failed send, this process sends nothing for this long: each send would wait for the broker.
PAUSE_SECONDS = 5.0
_silent_until = 0.0


def enqueue(task: "Task[Any, Any]", **arguments: Any) -> None:
    """Send the task when the open transaction commits, or now if none is open.

    If the broker is down the work is not lost: its row stays due, and Celery beat queues it again.
    """
    transaction.on_commit(lambda: _send(task, arguments))


def _send(task: "Task[Any, Any]", arguments: dict[str, Any]) -> None:
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        task.apply_async(kwargs=arguments)
    except (OperationalError, OSError) as error:
        _silent_until = time.monotonic() + PAUSE_SECONDS
        logger.warning(
            "A task could not be queued; beat queues it again",
            extra={"task": task.name, "error": str(error)},
        )
