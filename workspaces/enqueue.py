"""The one way in which interfaces hand work to the queue: on commit, and never a reason to fail."""

import logging
import time
from typing import Any

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

# After a failed send the next ones of this process are left to beat for so long: each would wait for a dead broker.
PAUSE_SECONDS = 5.0
_silent_until = 0.0


def enqueue(task: "Task[Any, Any]", **arguments: Any) -> None:
    """Send the task once the open transaction commits; at once where none is open.

    With the broker away the work is not lost: the row's deadline stands, and beat finds it.
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
        logger.warning("A task could not be queued; beat repeats it", extra={"task": task.name, "error": str(error)})
