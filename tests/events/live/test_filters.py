"""Which events pass which filter, as a table; and which filters are invalid."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.http import QueryDict

from events.envelope import LoggedEvent
from events.live.filters import MAX_VALUES, BadFilter, parse

ROOT, MIDDLE, LEAF, OTHER = (UUID(int=number) for number in range(1, 5))


def logged_event(event_type="WORKSPACE_ONLINE", workspace_id=LEAF, runtime="hermes", ancestors=(MIDDLE, ROOT)):
    subject = {"runtime": runtime, "ancestors": [str(each) for each in ancestors]} if workspace_id else {}
    return LoggedEvent(
        position=1,
        event_type=event_type,
        workspace_id=workspace_id,
        version=1 if workspace_id else None,
        payload={},
        created_at=datetime.now(UTC),
        subject=subject,
    )


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("", True),
        ("event=WORKSPACE_ONLINE", True),
        ("event=WORKSPACE_OFFLINE,WORKSPACE_ONLINE", True),
        ("event=WORKSPACE_OFFLINE&event=WORKSPACE_ONLINE", True),
        ("event=WORKSPACE_OFFLINE", False),
        ("event=WORKSPACE_PROGRESS", False),
        (f"workspace={LEAF}", True),
        (f"workspace={ROOT}", False),
        (f"workspace={OTHER},{LEAF}", True),
        ("runtime=hermes", True),
        ("runtime=echo", False),
        (f"subtree={ROOT}", True),
        (f"subtree={MIDDLE}", True),
        (f"subtree={LEAF}", True),
        (f"subtree={OTHER}", False),
        (f"subtree={ROOT}&runtime=hermes&event=WORKSPACE_ONLINE", True),
        (f"subtree={ROOT}&runtime=echo", False),
        ("after=5&cache=1", True),
    ],
)
def test_an_event_is_filtered_by_its_own_snapshot(query, passes):
    assert parse(QueryDict(query)).passes(logged_event()) is passes


@pytest.mark.parametrize(
    ("query", "passes"),
    [("", True), ("event=INCIDENT_OPENED", True), ("runtime=hermes", False), (f"subtree={ROOT}", False)],
)
def test_an_event_about_the_fleet_has_no_workspace(query, passes):
    assert parse(QueryDict(query)).passes(logged_event("INCIDENT_OPENED", workspace_id=None)) is passes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event", "WORKSPACE_EXPLODED"),
        ("event", ""),
        ("event", "WORKSPACE_ONLINE,"),
        ("workspace", "abc"),
        ("subtree", "1"),
        ("runtime", ""),
        ("runtime", "x" * 64),
        ("runtime", "a\x00b"),
        ("workspace", ",".join([str(LEAF)] * (MAX_VALUES + 1))),
    ],
)
def test_an_invalid_value_is_refused_by_its_field(field, value):
    query = QueryDict(mutable=True)
    query[field] = value
    with pytest.raises(BadFilter) as refusal:
        parse(query)
    assert refusal.value.field == field
