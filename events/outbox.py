"""The one door for producers: an event is written in the producer's own transaction, or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from events.limits import is_storable, within_limit, without_tokens
from events.models import Event
from events.names import EventType

# The relay listens here; Postgres delivers it on commit only, once a transaction.
RECORDED_CHANNEL = "slipway_event_recorded"


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """What a producer hands in. `subject` is a snapshot: {name, runtime, ancestors: [uuid text, nearest first]}.

    Texts in the payload are masked by their producer: only it knows the secrets. What is larger than an event may be,
    or shaped like a token of ours, is shortened and masked (events/limits.py); it never costs the move.
    """

    event_type: EventType
    workspace_id: UUID | None = None
    version: int | None = None
    is_move: bool = False
    payload: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)


def record(events: Sequence[NewEvent]) -> QuerySet[Event]:
    """Write the events in one statement, whatever their number; the relay hears of them on commit.

    Return them in the given order, read when somebody looks.
    Raises TransactionManagementError outside a transaction: an event without its cause's commit would be a lie.
    """
    connection.validate_no_broken_transaction()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An event is recorded in the transaction of what it tells.")
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, ["[" + ",".join(map(_written, events)) + "]", RECORDED_CHANNEL])
        ids = [row[0] for row in cursor.fetchall()]
    return Event.objects.filter(pk__in=ids).order_by("pk")


# One parameter for all rows: a thousand events by the ORM's INSERT cost several times the move that they tell of.
# The bell, a query of its own, is rung once for all rows.
_INSERT = """
WITH written AS (
    INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject)
    SELECT event_type, workspace_id, version, is_move, payload, subject
    FROM ROWS FROM (
        jsonb_to_recordset(%s::jsonb)
        AS (event_type text, workspace_id uuid, version bigint, is_move boolean, payload jsonb, subject jsonb)
    ) WITH ORDINALITY
    ORDER BY ordinality
    RETURNING id
), bell AS (SELECT pg_notify(%s, ''))
SELECT id FROM written, bell
"""


def _written(event: NewEvent) -> str:
    row = _row(event, event.payload, event.subject)
    written = json.dumps(row)
    if is_storable(written):
        return written
    return json.dumps(_row(event, within_limit(without_tokens(event.payload)), without_tokens(event.subject)))


def _row(event: NewEvent, payload: Mapping[str, Any], subject: Mapping[str, Any]) -> dict[str, Any]:
    versioned = {"version": event.version} if event.version is not None else {}
    return {
        "event_type": event.event_type.value,
        "workspace_id": str(event.workspace_id) if event.workspace_id else None,
        "version": event.version,
        "is_move": event.is_move,
        "payload": {**payload, **versioned},
        "subject": subject,
    }
