"""A producer of events in a process of its own: `python -m tests.journeys.produce COUNT WORKSPACES SECONDS`.

Goes through outages as a producer does that must not lose anything: it looks whether its last commit was one, and
repeats it where it was not.
"""

import sys
import time
from uuid import UUID

import django

django.setup()

from django.db import Error, connection, transaction  # noqa: E402 (Django comes first)

from events import outbox  # noqa: E402
from events.models import Event  # noqa: E402
from events.names import EventType  # noqa: E402


def produce(*, count, workspaces, seconds):
    """Record so many events over that time, each in a transaction of its own."""
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
        _persist(number, workspaces)


def _persist(number, workspaces):
    is_in_doubt = False
    while True:
        try:
            if not (is_in_doubt and Event.objects.filter(payload__number=number).exists()):
                _record(number, workspaces)
        except Error:
            # Whether it was committed is not known: the next look tells.
            is_in_doubt = True
            connection.close()
            time.sleep(0.1)
        else:
            return


def _record(number, workspaces):
    event = outbox.NewEvent(
        event_type=EventType.WORKSPACE_ONLINE,
        workspace_id=UUID(int=number % workspaces + 1),
        version=number // workspaces + 1,
        is_move=True,
        payload={"number": number},
        subject={"name": f"w{number % workspaces}", "runtime": "echo", "ancestors": []},
    )
    with transaction.atomic():
        outbox.record([event])


if __name__ == "__main__":
    produce(count=int(sys.argv[1]), workspaces=int(sys.argv[2]), seconds=float(sys.argv[3]))
