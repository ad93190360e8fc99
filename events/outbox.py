"""The one door for producers: an event is written in the producer's own transaction, or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from events.models import Event
from events.names import EventType
from events.payload_limits import is_storable, mask_tokens, shorten

# The relay listens here; Postgres delivers it on commit only, once a transaction.
RECORDED_CHANNEL = "slipway_event_recorded"


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """What a producer hands in. `subject` is a snapshot: {name, runtime, ancestors: [uuid text, nearest first]}.

    Texts in the payload are masked by their producer: only it knows the secrets. What is larger than an event may be,
    or shaped like a token of ours, is shortened and masked (events/payload_limits.py); it never costs the move.
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
    common = _common([event.payload for event in events])
    shared = json.dumps(common)
    own = ",".join([_written(event, common, beside=len(shared)) for event in events])
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [shared, f"[{own}]", RECORDED_CHANNEL])
        ids = [row[0] for row in cursor.fetchall()]
    return Event.objects.filter(pk__in=ids).order_by("pk")


# One parameter for what the payloads share and one for all rows: a thousand events by the ORM's INSERT cost several
# times the move that they tell of.
# The bell, a query of its own, is rung once for all rows.
_INSERT = """
WITH written AS (
    INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject)
    SELECT event_type, workspace_id, version, is_move, %s::jsonb || payload, subject
    FROM ROWS FROM (
        jsonb_to_recordset(%s::jsonb)
        AS (event_type text, workspace_id uuid, version bigint, is_move boolean, payload jsonb, subject jsonb)
    ) WITH ORDINALITY
    ORDER BY ordinality
    RETURNING id
), bell AS (SELECT pg_notify(%s, ''))
SELECT id FROM written, bell
"""


def _common(payloads: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the texts that all payloads have under the same names: they are sent once. One payload's are its own."""
    if len(payloads) < 2:
        return {}
    texts = {name: text for name, text in payloads[0].items() if isinstance(text, str)}
    common = {name: text for name, text in texts.items() if all(each.get(name) == text for each in payloads)}
    # What can't be stored as it is is looked at event by event.
    return common if is_storable(json.dumps(common)) else {}


def _written(event: NewEvent, common: Mapping[str, str], *, beside: int) -> str:
    own = {name: value for name, value in event.payload.items() if name not in common}
    written = json.dumps(_row(event, own, event.subject))
    if is_storable(written, beside=beside):
        return written
    # All of it: its own texts, masked and shortened, take the place of the common ones.
    return json.dumps(_row(event, shorten(mask_tokens(event.payload)), mask_tokens(event.subject)))


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
