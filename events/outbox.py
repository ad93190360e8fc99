"""Records events in the transaction of their cause. No other code writes the log."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from events.names import EventType
from events.payload_limits import is_storable, mask_tokens, shorten

# The relay listens on this channel. Postgres notifies on commit, once for each transaction.
RECORDED_CHANNEL = "slipway_event_recorded"


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event to record.

    `subject` is the workspace at that time: {name, runtime, ancestors: [ID as text, nearest first]}.

    The caller masks secrets in the payload, since only it knows them. `record` shortens a payload that is too large and
    masks texts that look like tokens (events/payload_limits.py); it refuses nothing, since that would refuse the cause.
    """

    event_type: EventType
    workspace_id: UUID | None = None
    version: int | None = None
    is_move: bool = False
    payload: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)


def record(events: Sequence[NewEvent]) -> None:
    """Write the events in the given order in one statement. The relay is notified on commit.

    Raises TransactionManagementError outside a transaction, since an event must be committed together with its cause.
    """
    connection.validate_no_broken_transaction()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Record an event in the transaction of its cause.")
    common = _common_texts([event.payload for event in events])
    shared = json.dumps(common)
    rows = ",".join([_to_json(event, common, beside=len(shared)) for event in events])
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [shared, f"[{rows}]", RECORDED_CHANNEL])


# One parameter for what the payloads share and one for all rows: the ORM's INSERT of a thousand events would take
# several times as long as their cause. The notification stands beside the INSERT: it is sent once for all rows.
_INSERT = """
WITH written AS (
    INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject)
    SELECT event_type, workspace_id, version, is_move, %s::jsonb || payload, subject
    FROM ROWS FROM (
        jsonb_to_recordset(%s::jsonb)
        AS (event_type text, workspace_id uuid, version bigint, is_move boolean, payload jsonb, subject jsonb)
    ) WITH ORDINALITY
    ORDER BY ordinality
)
SELECT pg_notify(%s, '')
"""


def _common_texts(payloads: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the fields that are the same text in all payloads, to send them once; none for a single payload."""
    if len(payloads) < 2:
        return {}
    texts = {name: text for name, text in payloads[0].items() if isinstance(text, str)}
    common = {name: text for name, text in texts.items() if all(each.get(name) == text for each in payloads)}
    # If they need masking or shortening, do that event by event.
    return common if is_storable(json.dumps(common)) else {}


def _to_json(event: NewEvent, common: Mapping[str, str], *, beside: int) -> str:
    own = {name: value for name, value in event.payload.items() if name not in common}
    text = json.dumps(_row(event, own, event.subject))
    if is_storable(text, beside=beside):
        return text
    # The whole payload, since its masked and shortened texts replace the common ones.
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
