"""The log is append-only, its payloads are bounded, and old events are deleted; their positions are not used again."""

import json
import secrets
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from events import outbox, payload_limits, relay
from events.models import Delivery, DeliveryState, Event
from events.names import EventType
from events.positions import last_position
from postgres.clock import database_now
from tests.events.channels.factories import webhook
from tests.events.conftest import online, publish, record

pytestmark = pytest.mark.django_db


def refused(statement, *values):
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.mark.parametrize("column", [field.column for field in Event._meta.concrete_fields if field.name != "position"])
def test_the_database_refuses_to_change_any_column_but_the_position(column):
    record(online())
    refused(f"UPDATE events_event SET {column} = {column}")  # noqa: S608 (the model's own columns)


def test_an_event_gets_one_position_for_good():
    record(online())
    refused("UPDATE events_event SET position = NULL")
    relay.number_all()
    refused("UPDATE events_event SET position = 7")
    refused("UPDATE events_event SET position = NULL")
    assert Event.objects.get().position == 1


def test_only_the_retention_command_deletes_events():
    publish(online())
    refused("DELETE FROM events_event")
    with pytest.raises(IntegrityError), transaction.atomic():
        Event.objects.all().delete()
    assert Event.objects.count() == 1


def old(*events, days=100):
    """Publish events with an old `created_at`, which needs the triggers disabled."""
    rows = publish(*events)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_event DISABLE TRIGGER event_keeps_what_it_says")
        moment = database_now() - timedelta(days=days)
        cursor.execute("UPDATE events_event SET created_at = %s WHERE id = ANY(%s)", [moment, [row.pk for row in rows]])
        cursor.execute("ALTER TABLE events_event ENABLE TRIGGER event_keeps_what_it_says")
    return rows


def prune(*arguments):
    output = StringIO()
    call_command("prune_events", *arguments, stdout=output)
    return output.getvalue().strip()


def test_old_events_are_deleted_and_their_positions_not_used_again():
    old(online(), online())
    young = publish(online())
    assert prune("--older-than", "90d", "--dry-run") == "2 events would be deleted, 0 old ones kept."
    assert Event.objects.count() == 3
    assert prune("--older-than", "90d") == "2 events deleted, 0 old ones kept."
    assert list(Event.objects.values_list("pk", flat=True)) == [young[0].pk]
    assert prune("--older-than", "90d") == "0 events deleted, 0 old ones kept."
    publish(online())
    assert last_position() == 4


def test_the_permission_to_delete_ends_with_the_command_s_transaction():
    old(online())
    prune("--older-than", "90d")
    publish(online())
    with connection.cursor() as cursor:
        # The test's own transaction would have kept the setting.
        cursor.execute("SELECT set_config('slipway.pruning', '', true)")
    refused("DELETE FROM events_event")


def test_an_undelivered_old_event_is_kept_and_a_delivered_one_deleted_with_its_delivery():
    webhook("http://127.0.0.1:9/")
    waiting, delivered = old(online(), online())
    Delivery.objects.filter(event=delivered).update(state=DeliveryState.DELIVERED, settled_at=database_now())
    assert prune("--older-than", "90d") == "1 events deleted, 1 old ones kept."
    assert list(Delivery.objects.values_list("event_id", flat=True)) == [waiting.pk]


def test_an_event_without_a_position_is_kept():
    record(online())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_event DISABLE TRIGGER event_keeps_what_it_says")
        cursor.execute("UPDATE events_event SET created_at = now() - interval '1 year'")
        cursor.execute("ALTER TABLE events_event ENABLE TRIGGER event_keeps_what_it_says")
    assert prune("--older-than", "90d") == "0 events deleted, 1 old ones kept."


@pytest.mark.parametrize("age", ["90", "d", "0d", "-3d", "90 d", "9999999d", "1y", ""])
def test_an_invalid_age_is_refused_with_an_example(age):
    with pytest.raises(CommandError, match="such as 90d"):
        prune(f"--older-than={age}")


def stored(**payload):
    (event,) = record(online(payload=payload))
    return Event.objects.get(pk=event.pk).payload


TOKEN = secrets.token_urlsafe(32)


@pytest.mark.parametrize(
    "payload",
    [
        {"error": f"Bearer {TOKEN} was refused"},
        {"error": f"WORKSPACE_TOKEN={TOKEN}"},
        {"card": {"deep": [{"list": [f"({TOKEN})"]}]}},
        {TOKEN: "as a key"},
    ],
)
def test_a_text_that_looks_like_a_token_is_masked_anywhere(payload):
    kept = stored(**payload)
    assert TOKEN not in json.dumps(kept)
    assert payload_limits.MASK in json.dumps(kept, ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        "0f218914-6a32-4bd5-b90d-6ea33cf37a5a",
        "a" * 43,
        "f" * 64,
        "some-very-long-name-of-a-thing-in-kebab-case-x",
        "https://example.com/" + "Path/" * 20,
        "/var/lib/slipway/workspaces/0d9c/launches/1",
    ],
)
def test_other_texts_are_not_masked(text):
    assert stored(error=text)["error"] == text


def test_a_payload_that_is_too_large_is_shortened_and_recorded():
    kept = stored(error="é" * 300_000, code="crashed", log_tail="tail " * 50_000)
    assert len(json.dumps(kept, ensure_ascii=False).encode()) <= payload_limits.MAX_PAYLOAD_BYTES + 100
    assert kept["error"].endswith(payload_limits.SHORTENED)
    assert kept["error"].startswith("ééé")
    assert kept["code"] == "crashed"
    assert kept["version"] == 1


def test_a_payload_of_many_small_texts_loses_only_its_largest_field():
    kept = stored(agent_card={f"skill {number}": "x" * 50 for number in range(5000)}, url="http://localhost:9")
    assert kept == {"agent_card": payload_limits.OMITTED, "url": "http://localhost:9", "version": 1}


def test_a_payload_within_the_limit_is_stored_unchanged():
    payload = {"error": "x" * 20_000, "missing": ["A", "B"], "n": 3, "none": None}
    assert stored(**payload) == {**payload, "version": 1}


def test_no_part_of_a_token_at_the_cut_is_left():
    text = "x" * 8_180 + " " + TOKEN + " y" * 100_000
    kept = json.dumps(stored(error=text))
    assert TOKEN[:8] not in kept


def recorded(*payloads):
    event_type, ids = EventType.WORKSPACE_OFFLINE, [uuid4() for _ in payloads]
    with transaction.atomic():
        outbox.record(
            [
                outbox.NewEvent(event_type=event_type, workspace_id=id_, version=1, payload=payload)
                for id_, payload in zip(ids, payloads, strict=True)
            ]
        )
    return [Event.objects.get(workspace_id=id_).payload for id_ in ids]


@pytest.mark.parametrize(
    "payloads",
    [
        [{"code": "crashed", "n": 1}, {"code": "crashed", "n": True}],
        [{"a": "x", "b": "y"}, {"b": "y"}, {}],
        [{"a": "x"}, {"a": None}],
        [{"a": {"deep": "x"}, "b": ["x"]}, {"a": {"deep": "x"}, "b": ["x"]}],
        [{"“quotes”": "back\\slash and é"}, {"“quotes”": "back\\slash and é"}],
    ],
)
def test_texts_that_events_share_are_written_to_each(payloads):
    assert recorded(*payloads) == [{**payload, "version": 1} for payload in payloads]


def test_a_token_that_events_share_is_masked_in_each():
    for kept in recorded({"error": f"it was {TOKEN}", "n": 1}, {"error": f"it was {TOKEN}", "n": 2}):
        assert kept["error"] == f"it was {payload_limits.MASK}"


def test_a_long_text_that_events_share_counts_for_each_of_them():
    shared, own = "x" * 40_000, "y" * 40_000
    large, small = recorded({"error": shared, "log_tail": own}, {"error": shared, "log_tail": "short"})
    assert len(json.dumps(large)) <= payload_limits.MAX_PAYLOAD_BYTES
    assert large["error"].endswith(payload_limits.SHORTENED)
    assert small == {"error": shared, "log_tail": "short", "version": 1}
