"""Delivery from a positioned event to its receiver: claims, order, retries, and the effect of each answer."""

import threading
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from events import relay
from events.delivery import channel_operations, channel_run, deliverer
from events.delivery.claims import Claim, Mark, claim, due_channels, mark, release
from events.delivery.deliverer import Deliverer, deliver_all_due
from events.models import Channel, Delivery, DeliveryState
from events.names import EventType
from events.outbox import NewEvent
from postgres.clock import database_now
from tests.events.channels.factories import signing_secret, webhook
from tests.events.channels.receivers import Answer, receiving
from tests.events.conftest import online, publish
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def states():
    return Counter(Delivery.objects.values_list("state", flat=True))


def make_due():
    """Make all waiting retries due."""
    Delivery.objects.filter(state=DeliveryState.WAITING).update(next_attempt_at=database_now())


def test_an_event_is_sent_signed_with_its_id_and_the_live_envelope(receiver):
    channel = webhook(receiver.url, headers={"Authorization": "Bearer abc"})
    (event,) = publish(online(subject={"name": "w", "runtime": "echo", "ancestors": []}))
    assert deliver_all_due() == 1
    (message,) = receiver.messages(signing_secret(channel))
    assert message["id"] == str(event.id)
    assert message["type"] == EventType.WORKSPACE_ONLINE
    assert message["data"]["position"] == 1
    assert message["data"]["payload"] == {"version": 1}
    assert receiver.received[0].headers["authorization"] == "Bearer abc"
    assert states() == {DeliveryState.DELIVERED: 1}
    channel.refresh_from_db()
    assert channel.last_success_at is not None
    assert Delivery.objects.get().history[0]["response"] == "thanks"


def test_every_event_arrives_once_and_each_workspace_in_order(receiver):
    channel = webhook(receiver.url)
    workspaces = [uuid4() for _ in range(7)]
    publish(*[online(workspace, version=version) for version in range(1, 21) for workspace in workspaces])
    assert deliver_all_due() == 140
    messages = receiver.messages(signing_secret(channel))
    assert len({message["id"] for message in messages}) == len(messages) == 140
    for workspace in workspaces:
        versions = [m["data"]["version"] for m in messages if m["data"]["workspace_id"] == str(workspace)]
        assert versions == list(range(1, 21))


def failing(status, **more):
    return lambda request: Answer(status=status, **more)


def attempt_all(times):
    for _ in range(times):
        make_due()
        deliver_all_due()


def test_a_failing_delivery_is_a_dead_letter_after_eight_attempts_with_the_same_bytes(receiver):
    webhook(receiver.url)
    publish(online())
    receiver.answer = failing(500, body=b"y" * 5000)
    attempt_all(8)
    assert states() == {DeliveryState.DEAD: 1}
    assert len(receiver.received) == 8
    assert len({request.body for request in receiver.received}) == 1
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    history = Delivery.objects.get().history
    assert [(entry["ok"], entry["answer"]) for entry in history] == [(False, "HTTP 500")] * 8
    assert all(len(entry["response"]) == 1024 for entry in history)
    attempt_all(1)
    assert len(receiver.received) == 8


def test_attempts_follow_the_schedule(receiver, monkeypatch):
    webhook(receiver.url)
    publish(online())
    began, ahead = database_now(), timedelta()
    monkeypatch.setattr(deliverer, "database_now", lambda: began + ahead)
    monkeypatch.setattr(channel_run, "claim", lambda *args, **options: claim(*args, now=began + ahead, **options))
    # The time that the test itself takes must not count.
    monkeypatch.setattr(Claim, "now", lambda claim: claim.claimed_at)
    receiver.answer = failing(500)
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    pauses = [timedelta(seconds=5), minute, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour]
    deliver_all_due()
    for attempts, pause in enumerate(pauses, start=1):
        # Jitter is a fifth to either side: no attempt before the shortest pause, one after the longest.
        ahead += 0.8 * pause - timedelta(seconds=1)
        deliver_all_due()
        assert len(receiver.received) == attempts
        ahead += 0.4 * pause + timedelta(seconds=1)
        deliver_all_due()
        assert len(receiver.received) == attempts + 1
    assert states() == {DeliveryState.DEAD: 1}


@pytest.mark.parametrize("status", [400, 405, 413, 422, 301, 308])
def test_a_permanent_failure_is_a_dead_letter_at_once(receiver, status):
    webhook(receiver.url)
    publish(online())
    receiver.answer = failing(status, headers={"Location": "http://10.0.0.1/"})
    deliver_all_due()
    assert states() == {DeliveryState.DEAD: 1}
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [0, 302, 401, 403, 404, 408, 425, 429, 500, 502, 503])
def test_a_temporary_failure_is_retried(receiver, status):
    channel = webhook(receiver.url)
    publish(online())
    receiver.answer = failing(status)
    deliver_all_due()
    assert states() == {DeliveryState.WAITING: 1}
    channel.refresh_from_db()
    assert channel.last_error
    assert channel.last_success_at is None


def test_a_redirect_is_not_followed(receiver):
    with receiving() as inner:
        webhook(receiver.url)
        publish(online())
        receiver.answer = failing(302, headers={"Location": inner.url + "?token=s3cr3t"})
        deliver_all_due()
        assert inner.received == []
    entry = Delivery.objects.get().history[0]
    assert "redirects to 127.0.0.1" in entry["error"]
    assert "s3cr3t" not in str(entry)


def test_a_receiver_that_is_gone_disables_its_channel_and_opens_an_incident(receiver):
    with receiving() as other:
        channel = webhook(receiver.url)
        watching = webhook(other.url, event_types=[EventType.INCIDENT_OPENED, EventType.INCIDENT_RESOLVED])
        receiver.answer = failing(410)
        publish(*[online() for _ in range(10)])
        deliver_all_due()
        channel.refresh_from_db()
        assert not channel.is_enabled
        assert "410" in channel.disabled_reason
        relay.number_all()
        deliver_all_due()
        (incident,) = other.messages(signing_secret(watching))
        assert incident["type"] == EventType.INCIDENT_OPENED
        assert incident["data"]["payload"]["kind"] == "channel_disabled"
        publish(online())

        receiver.answer = failing(200)
        assert channel_operations.enable(Channel.objects.filter(pk=channel.pk)) == 1
        relay.number_all()
        attempt_all(1)
        # Events queued before it was disabled arrive. Later ones were not queued.
        assert len(receiver.messages(signing_secret(channel))) == 11
        assert other.messages(signing_secret(watching))[-1]["type"] == EventType.INCIDENT_RESOLVED


def test_retry_after_holds_the_whole_channel(receiver):
    channel = webhook(receiver.url, concurrency=1)
    receiver.answer = failing(429, headers={"Retry-After": "120"})
    publish(online(), online(), online())
    before = database_now()
    deliver_all_due()
    assert len(receiver.received) == 1
    channel.refresh_from_db()
    assert before + timedelta(seconds=119) < channel.held_until < database_now() + timedelta(seconds=121)
    assert due_channels(now=before + timedelta(seconds=100)) == []
    # Only the message that was sent counts as an attempt.
    assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0, 0, 1]
    Channel.objects.update(held_until=database_now())
    receiver.answer = failing(200)
    attempt_all(1)
    assert states() == {DeliveryState.DELIVERED: 3}


def test_a_failing_delivery_does_not_block_later_ones_of_its_workspace(receiver):
    channel = webhook(receiver.url)
    workspace = uuid4()
    poison, *_ = publish(*[online(workspace, version=version) for version in (1, 2, 3)])
    receiver.answer = lambda request: Answer(500 if request.headers["webhook-id"] == str(poison.id) else 200)
    deliver_all_due()
    versions = [message["data"]["version"] for message in receiver.messages(signing_secret(channel))]
    assert versions == [2, 3]
    receiver.answer = failing(200)
    attempt_all(1)
    versions = [message["data"]["version"] for message in receiver.messages(signing_secret(channel))]
    assert versions == [2, 3, 1]


def test_a_claim_is_taken_over_when_its_lease_ends(receiver):
    channel = webhook(receiver.url)
    publish(online(), online())
    now = database_now()
    dead = claim(channel, lease=timedelta(seconds=60), now=now)
    assert dead
    assert len(dead.deliveries) == 2
    later = now + timedelta(seconds=59)
    assert claim(channel, lease=timedelta(seconds=60), now=later) is None
    assert due_channels(now=later) == []
    later = now + timedelta(seconds=60)
    assert due_channels(now=later) == [channel.pk]
    taken = claim(channel, lease=timedelta(seconds=60), now=later)
    assert taken
    # The marks of the first claim no longer count.
    marks = [Mark(delivery=each, is_delivered=False, at=later) for each in dead.deliveries]
    assert mark(dead, marks) == 0
    assert states() == {DeliveryState.SENDING: 2}
    marks = [Mark(delivery=each, is_delivered=True, at=later) for each in taken.deliveries]
    assert mark(taken, marks) == 2
    assert states() == {DeliveryState.DELIVERED: 2}


def test_a_mark_counts_the_attempt_and_settles_what_is_not_repeated(receiver):
    channel = webhook(receiver.url)
    publish(online(), online(), online())
    claimed = claim(channel, lease=timedelta(seconds=60))
    assert claimed
    at = claimed.claimed_at + timedelta(seconds=1)
    delivered, dead, repeated = claimed.deliveries
    later = at + timedelta(minutes=5)
    marks = [
        Mark(delivery=delivered, is_delivered=True, at=at, entry={"ok": True}),
        Mark(delivery=dead, is_delivered=False, at=at, entry={"ok": False}),
        Mark(delivery=repeated, is_delivered=False, at=at, next_attempt_at=later, entry={"ok": False}),
    ]
    assert mark(claimed, marks) == 3
    rows = Delivery.objects.order_by("position").values_list("state", "attempts", "settled_at", "history")
    told = at.isoformat()
    assert list(rows) == [
        (DeliveryState.DELIVERED, 1, at, [{"at": told, "ok": True}]),
        (DeliveryState.DEAD, 1, at, [{"at": told, "ok": False}]),
        (DeliveryState.WAITING, 1, None, [{"at": told, "ok": False}]),
    ]
    assert Delivery.objects.get(state=DeliveryState.WAITING).next_attempt_at == later


def test_a_claim_s_time_is_the_database_s(receiver):
    channel = webhook(receiver.url)
    publish(online())
    before = database_now()
    claimed = claim(channel, lease=timedelta(seconds=60))
    assert claimed
    assert before <= claimed.claimed_at <= database_now()
    assert Delivery.objects.get().leased_until == claimed.leased_until == claimed.claimed_at + timedelta(seconds=60)


def test_released_deliveries_keep_their_order_and_attempts(receiver):
    channel = webhook(receiver.url)
    publish(*[online() for _ in range(5)])
    now = database_now()
    held = claim(channel, lease=timedelta(seconds=60), now=now)
    assert held
    release(held, held.deliveries[2:])
    mark(held, [Mark(delivery=each, is_delivered=True, at=now) for each in held.deliveries[:2]])
    again = claim(channel, lease=timedelta(seconds=60), now=now)
    assert again
    assert [each.event.position for each in again.deliveries] == [3, 4, 5]
    assert {each.attempts for each in again.deliveries} == {0}


def test_a_paused_channel_queues_and_sends_in_order_when_it_is_resumed(receiver):
    channel = webhook(receiver.url)
    assert channel_operations.pause(Channel.objects.all(), now=database_now()) == 1
    workspace = uuid4()
    publish(*[online(workspace, version=version) for version in (1, 2, 3)])
    assert deliver_all_due() == 0
    assert receiver.received == []
    assert channel_operations.resume(Channel.objects.all()) == 1
    assert deliver_all_due() == 3
    assert [message["data"]["version"] for message in receiver.messages(signing_secret(channel))] == [1, 2, 3]


def test_dead_letters_are_redriven_from_the_first_attempt_on(receiver):
    channel = webhook(receiver.url)
    receiver.answer = failing(400)
    publish(online(), online())
    deliver_all_due()
    receiver.answer = failing(200)
    one = Delivery.objects.filter(pk=Delivery.objects.order_by("pk")[0].pk)
    assert channel_operations.redrive(one, now=database_now()) == 1
    assert deliver_all_due() == 1
    assert channel_operations.redrive(Delivery.objects.all(), now=database_now()) == 1
    assert deliver_all_due() == 1
    assert len(receiver.messages(signing_secret(channel))) == 2
    assert [entry["ok"] for entry in one.get().history] == [False, True]


def test_a_slow_channel_does_not_delay_others(receiver):
    with receiving() as slow:
        released = threading.Event()
        slow.answer = lambda request: Answer(released=released)
        webhook(slow.url, concurrency=1)
        fast = webhook(receiver.url)
        publish(*[online() for _ in range(5)])
        deliverer = Deliverer()
        thread = threading.Thread(target=lambda: (deliverer.run(), connection.close()))
        thread.start()
        try:
            wait_until(lambda: len(receiver.messages(signing_secret(fast))) == 5)
            assert slow.accepted == []
        finally:
            deliverer.stop()
            released.set()
            thread.join(PATIENCE_SECONDS)
    # Deliveries that were not attempted are given back at once.
    assert Delivery.objects.filter(state=DeliveryState.SENDING).count() == 0


def test_concurrent_sends_are_limited_by_the_channel(receiver):
    webhook(receiver.url, concurrency=3)
    running, most, released = [0], [0], threading.Event()

    def count(request):
        running[0] += 1
        most[0] = max(most[0], running[0])
        if most[0] == 3:
            released.set()
        return Answer(wait_seconds=0.05, released=released)

    receiver.answer = count
    receiver.finished = lambda: running.__setitem__(0, running[0] - 1)
    publish(*[online() for _ in range(12)])
    assert deliver_all_due() == 12
    assert most[0] == 3


def test_two_deliverers_at_once_send_each_event_once(receiver, settings):
    # No claim may end while its holder is only slow.
    settings.DELIVERY_LEASE_SECONDS = 3600
    webhook(receiver.url)
    publish(*[online() for _ in range(150)])
    barrier = threading.Barrier(3)

    def race():
        try:
            barrier.wait(PATIENCE_SECONDS)
            deliver_all_due()
        finally:
            connection.close()

    threads = [threading.Thread(target=race) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    deliver_all_due()
    assert Counter(request.headers["webhook-id"] for request in receiver.received).most_common(1)[0][1] == 1
    assert states() == {DeliveryState.DELIVERED: 150}


def test_a_receiver_that_answers_byte_by_byte_runs_into_the_timeout(receiver):
    webhook(receiver.url, timeout_seconds=1)
    receiver.answer = failing(200, headers={"X-Slow": "1"}, trickles=True)
    publish(online())
    deliver_all_due()
    assert "within 1 s" in Delivery.objects.get().history[0]["error"]


def test_deliveries_fail_if_the_options_can_t_be_decrypted(receiver, settings):
    webhook(receiver.url)
    publish(online())
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    deliver_all_due()
    assert receiver.received == []
    assert states() == {DeliveryState.WAITING: 1}
    assert "SECRETS_KEYS" in Channel.objects.get().last_error


def test_an_unknown_kind_disables_the_channel(receiver):
    Channel.objects.filter(pk=webhook(receiver.url).pk).update(kind="pigeon")
    publish(online())
    deliver_all_due()
    assert "'pigeon'" in Channel.objects.get().disabled_reason
    assert states() == {DeliveryState.WAITING: 1}


WORKSPACE, PARENT = uuid4(), uuid4()
SUBJECT = {"name": "w", "runtime": "echo", "ancestors": [str(PARENT)]}


@pytest.mark.parametrize(
    ("wanted", "is_queued"),
    [
        ({}, True),
        ({"is_enabled": False}, False),
        ({"event_types": [EventType.WORKSPACE_PROVISION_FAILED]}, True),
        ({"event_types": [EventType.WORKSPACE_ONLINE]}, False),
        ({"event_types": [EventType.WORKSPACE_ONLINE, EventType.WORKSPACE_PROVISION_FAILED]}, True),
        ({"runtimes": ["echo"]}, True),
        ({"runtimes": ["hermes"]}, False),
        ({"failure_codes": ["crashed", "timed_out"]}, True),
        ({"failure_codes": ["missing_env"]}, False),
        ({"workspace_id": WORKSPACE}, True),
        ({"workspace_id": WORKSPACE, "with_descendants": False}, True),
        ({"workspace_id": PARENT}, True),
        ({"workspace_id": PARENT, "with_descendants": False}, False),
        ({"workspace_id": uuid4()}, False),
        ({"runtimes": ["echo"], "failure_codes": ["missing_env"]}, False),
        ({"runtimes": ["echo"], "failure_codes": ["crashed"], "workspace_id": PARENT}, True),
    ],
)
def test_an_event_is_queued_if_it_matches_all_filters(wanted, is_queued):
    webhook("http://127.0.0.1:9/", **wanted)
    failure = NewEvent(
        event_type=EventType.WORKSPACE_PROVISION_FAILED,
        workspace_id=WORKSPACE,
        version=2,
        payload={"error": "It broke.", "code": "crashed"},
        subject=SUBJECT,
    )
    publish(failure)
    assert Delivery.objects.count() == int(is_queued)
