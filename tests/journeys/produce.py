"""A producer of events in a separate process: `python -m tests.journeys.produce COUNT WORKSPACES SECONDS PARTS`.

Waits for a line of its standard input before each part of the events. Loses no event in an outage: after an error it
checks whether the last transaction was committed, and repeats it if not.
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


def produce(*, count, workspaces, seconds, parts):
    """Record this many events over this time, each in its own transaction."""
    firsts = {count * part // parts for part in range(parts)}
    for number in range(count):
        if number in firsts:
            sys.stdin.readline()
            began = time.monotonic() - seconds * number / count
        time.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
        _record_despite_outages(number, workspaces)


def _record_despite_outages(number, workspaces):
    may_be_recorded = False
    while True:
        try:
            if not (may_be_recorded and Event.objects.filter(payload__number=number).exists()):
                _record(number, workspaces)
        except Error:
            # It may have been committed, so check before the next attempt.
            may_be_recorded = True
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
    produce(count=int(sys.argv[1]), workspaces=int(sys.argv[2]), seconds=float(sys.argv[3]), parts=int(sys.argv[4]))
