"""The same event in every place that tells it: both lists, the streams, a webhook and a Redis stream."""

import json
from uuid import uuid4

import httpx
import pytest
import redis
from django.conf import settings as django_settings

from events.delivery.deliverer import deliver_all_due
from events.names import EventType
from events.outbox import NewEvent
from tests.callers import holder
from tests.events.channels.conftest import loopback_allowed, receiver
from tests.events.channels.factories import channel, signing_secret, webhook
from tests.events.conftest import WORD, next_message, online, publish
from tests.events.live.test_websocket import listening
from tests.waiting import PATIENCE_SECONDS
from workspaces.models import ApiScope

__all__ = ["loopback_allowed", "receiver"]
pytestmark = pytest.mark.django_db(transaction=True)
# What a JSON library may change: letters, an integer of more than 53 and of more than 64 bits, fractions, nothing.
PAYLOAD = {"text": "zwei\nZeilen ü 😀 </script>", "big": 2**53 + 1, "huge": 10**25, "part": 0.1, "none": None}


@pytest.fixture
def stream_name():
    name = f"{django_settings.REDIS_PREFIX}outlets-{uuid4()}"
    yield name
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        client.delete(name)


def listed(path):
    """Return the events of a list in the shape of the live envelope, each with its ID."""
    answer = holder(ApiScope.READ).get(path, after=0)
    assert answer.status_code == 200, answer.content
    kept = ("workspace_id", "payload", "position", "version")
    return [
        (row["id"], {"event": row["event_type"], "timestamp": row["created_at"], **{name: row[name] for name in kept}})
        for row in answer.json()
    ]


def without_microseconds(envelope):
    """Return an envelope with the time as lists have it. Lists have milliseconds."""
    moment, _, fraction = envelope["timestamp"].removesuffix("Z").partition(".")
    return {**envelope, "timestamp": f"{moment}.{fraction[:3].ljust(3, '0')}Z"}


def test_an_event_has_the_same_id_position_and_content_wherever_it_is_told(server, receiver, stream_name):
    hook = webhook(receiver.url)
    channel("redis_stream", {"url": django_settings.REDIS_URL, "stream": stream_name, "max_length": 100})
    mine = uuid4()
    with listening(server, "?after=0") as socket, server.stream(params={"after": "0"}) as stream:
        rows = publish(
            online(version=7),
            online(mine, version=3, payload=PAYLOAD),
            NewEvent(event_type=EventType.INCIDENT_OPENED, payload={"kind": "own_outage"}),
        )
        ids = [row.pk for row in rows]
        envelopes = [next_message(socket) for _ in ids]
        streamed = [stream.message() for _ in ids]
    assert [envelope["position"] for envelope in envelopes] == [1, 2, 3]
    assert (envelopes[1]["workspace_id"], envelopes[1]["payload"]) == (str(mine), {**PAYLOAD, "version": 3})
    assert streamed == [(envelope["position"], envelope) for envelope in envelopes]

    known = [(row_id, without_microseconds(envelope)) for row_id, envelope in zip(ids, envelopes, strict=True)]
    assert listed("/events") == known
    assert listed(f"/events/{mine}") == known[1:2]

    assert deliver_all_due() == 2 * len(ids)
    told = {message["data"]["position"]: message for message in receiver.messages(signing_secret(hook))}
    assert [told[position]["data"] for position in (1, 2, 3)] == envelopes
    assert [(told[position]["id"], told[position]["type"]) for position in (1, 2, 3)] == [
        (str(row_id), envelope["event"]) for row_id, envelope in zip(ids, envelopes, strict=True)
    ]
    with redis.Redis.from_url(django_settings.REDIS_URL, decode_responses=True) as client:
        entries = client.xrange(stream_name)
    assert [(place, fields["id"], json.loads(fields["data"])) for place, fields in entries] == [
        (f"{envelope['position']}-0", str(row_id), envelope) for row_id, envelope in zip(ids, envelopes, strict=True)
    ]


def test_a_workspace_s_own_stream_has_the_same_event_by_its_position(server):
    mine = uuid4()
    publish(online(), online(mine, version=3, payload=PAYLOAD))
    (_, envelope) = listed(f"/events/{mine}")[0]
    address = f"{server.origin}/workspaces/{mine}/events/stream?after=0"
    with httpx.stream("GET", address, headers=WORD, timeout=PATIENCE_SECONDS, trust_env=False) as response:
        lines = response.iter_lines()
        place = next(line for line in lines if line == f"id: {envelope['position']}")
        data = json.loads(next(lines).removeprefix("data: "))
    assert place == "id: 2"
    assert (data["type"], data["data"]) == (envelope["event"], envelope["payload"])
