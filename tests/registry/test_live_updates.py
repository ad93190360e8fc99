"""What a heartbeat or a boot step publishes over Redis: masked, and not stored."""

import json
import socket
import time

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import ephemeral
from events.delivery.claims import DELIVERIES_CHANNEL
from events.models import Event
from events.outbox import RECORDED_CHANNEL
from events.relay import POSITIONED_CHANNEL
from postgres.connections import connection_parameters
from tests.callers import AgentCaller, Caller, holder
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces import factories
from workspaces.access.secrets import put_secrets
from workspaces.models import ApiScope, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def subscription(monkeypatch):
    # On a busy machine nothing may be dropped here.
    monkeypatch.setattr(ephemeral, "TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(ephemeral, "_publisher", ephemeral._Publisher())
    with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as subscription:
        subscription.subscribe(ephemeral.redis_channel())
        assert subscription.get_message(timeout=PATIENCE_SECONDS)["type"] == "subscribe"
        yield subscription


def published(subscription, count, *, of):
    """Return the next events of this workspace. An earlier test's last one may come between them."""
    events = []
    while len(events) < count:
        event = json.loads(subscription.get_message(timeout=PATIENCE_SECONDS)["data"])
        if event["workspace_id"] == str(of.pk):
            events.append(event)
    return events


def test_a_heartbeat_is_published_with_its_task(subscription):
    parent = factories.online(name="parent")
    child = factories.online(name="child", parent_id=parent.pk)
    AgentCaller(child).beat(active_tasks=2, uptime_seconds=90, current_task="read the mail")

    beat, task = published(subscription, 2, of=child)

    assert beat["event"] == "WORKSPACE_HEARTBEAT"
    assert beat["workspace_id"] == str(child.pk)
    assert beat["payload"] == {"active_tasks": 2, "uptime_seconds": 90, "version": child.version}
    assert beat["subject"] == {"name": "child", "runtime": "echo", "ancestors": [str(parent.pk)]}
    assert task["event"] == "TASK_UPDATED"
    assert task["payload"] == {"current_task": "read the mail", "active_tasks": 2, "version": child.version}


def test_a_published_heartbeat_has_the_uptime_of_the_workspace_also_if_it_left_that_out(subscription):
    workspace = factories.online()
    agent = AgentCaller(workspace)
    for said in ({}, {"uptime_seconds": 90}, {"active_tasks": 1}):
        assert agent.beat(**said).status_code == 200
    beats = [event for event in published(subscription, 4, of=workspace) if event["event"] == "WORKSPACE_HEARTBEAT"]
    assert [beat["payload"]["uptime_seconds"] for beat in beats] == [0, 90, 90]
    with CaptureQueriesContext(connection) as queries:
        agent.beat(current_task="read the mail")
    assert len(queries) == 2
    assert holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}").json()["uptime_seconds"] == 90


def test_a_heartbeat_without_an_uptime_is_refused_to_a_stranger_while_somebody_listens(subscription):
    workspace = factories.online()
    assert Caller("unknown").post("/registry/heartbeat", {"workspace_id": str(workspace.pk)}).status_code == 401
    assert AgentCaller(factories.online()).beat(workspace_id=str(workspace.pk)).status_code == 403


def test_a_task_that_did_not_change_is_published_once(subscription):
    workspace = factories.online()
    for _ in range(2):
        AgentCaller(workspace).beat(active_tasks=1, current_task="read the mail")
    names = [event["event"] for event in published(subscription, 3, of=workspace)]
    assert names == ["WORKSPACE_HEARTBEAT", "TASK_UPDATED", "WORKSPACE_HEARTBEAT"]


def test_a_task_is_published_without_secrets(subscription):
    workspace = factories.online()
    put_secrets({"KEY": "hunter2-hunter2"}, workspace_id=workspace.pk)
    AgentCaller(workspace).beat(current_task="log in with hunter2-hunter2")
    assert "hunter2" not in json.dumps(published(subscription, 2, of=workspace))


def test_a_new_boot_step_is_published_and_a_repeated_one_is_not(subscription):
    workspace = factories.booting()
    agent = AgentCaller(workspace)
    for step in ("install", "install", "start"):
        agent.progress(step=step)

    install, start = published(subscription, 2, of=workspace)

    deadline_at = Workspace.objects.get(pk=workspace.pk).deadline_at
    assert install["payload"] | {"deadline_at": ""} == {
        "phase": "booting",
        "step": "install",
        "detail": "",
        "deadline_at": "",
        "version": workspace.version,
    }
    assert start["payload"]["step"] == "start"
    assert start["payload"]["deadline_at"] == deadline_at.isoformat()
    assert not Event.objects.filter(event_type__in=["WORKSPACE_PROGRESS", "WORKSPACE_HEARTBEAT"]).exists()


class CountingPublisher(ephemeral._Publisher):
    """Counts what it is given. Nothing else in a process publishes to Redis."""

    given = 0

    def publish(self, messages):
        self.given += len(messages)
        super().publish(messages)


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now, self.sleep = 1000.0, time.sleep

    def monotonic(self):
        return self.now


@pytest.fixture
def beats(monkeypatch):
    """Return a function that sends heartbeats and returns how many messages they publish."""
    monkeypatch.setattr(ephemeral, "TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(ephemeral, "time", Clock())
    monkeypatch.setattr(ephemeral, "_publisher", CountingPublisher())
    agent = AgentCaller(factories.online())

    def send(number):
        before = ephemeral._publisher.given
        assert {agent.beat(uptime_seconds=each).status_code for each in range(number)} == {200}
        return ephemeral._publisher.given - before

    return send


def nobody_is_known_to_listen():
    return not ephemeral.is_heard()


def test_heartbeats_are_published_only_while_somebody_listens(beats):
    # The first one finds out that nobody does.
    assert beats(1) == 1
    wait_until(nobody_is_known_to_listen)
    assert beats(5) == 0
    with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as subscription:
        subscription.subscribe(ephemeral.redis_channel())
        assert subscription.get_message(timeout=PATIENCE_SECONDS)["type"] == "subscribe"
        # They notice who came within a second.
        assert beats(1) == 0
        ephemeral.time.now += ephemeral._UNHEARD_SECONDS
        assert beats(5) == 5
        heard = [json.loads(subscription.get_message(timeout=PATIENCE_SECONDS)["data"]) for _ in range(5)]
        assert [event["payload"]["uptime_seconds"] for event in heard] == [0, 1, 2, 3, 4]
        subscription.unsubscribe()
        assert subscription.get_message(timeout=PATIENCE_SECONDS)["type"] == "unsubscribe"
    # The last one has left: one message finds out, and no more follow within the second.
    assert beats(1) == 1
    wait_until(nobody_is_known_to_listen)
    assert beats(5) == 0


def test_a_heartbeat_notifies_nobody_over_postgres(beats):
    parameters = connection_parameters(application_name="test")
    with psycopg.connect(**parameters) as listener, connection.cursor() as cursor:
        for channel in (RECORDED_CHANNEL, POSITIONED_CHANNEL, DELIVERIES_CHANNEL):
            listener.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
        beats(3)
        # Notifications arrive in the order of their commits.
        cursor.execute("SELECT pg_notify(%s, 'the end')", [POSITIONED_CHANNEL])
        assert next(listener.notifies(timeout=PATIENCE_SECONDS)).payload == "the end"


def test_another_detail_of_a_step_is_published_masked(subscription):
    workspace = factories.booting()
    put_secrets({"KEY": "hunter2-hunter2"}, workspace_id=workspace.pk)
    agent = AgentCaller(workspace)
    for detail in ("1 %", "1 %", None, "hunter2-hunter2 %"):
        agent.progress(step="install", detail=detail)
    details = [event["payload"]["detail"] for event in published(subscription, 2, of=workspace)]
    assert details == ["1 %", "•••••• %"]


def test_a_redis_that_does_not_answer_delays_no_heartbeat(settings, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings.REDIS_URL = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        monkeypatch.setattr(ephemeral, "TIMEOUT_SECONDS", PATIENCE_SECONDS)
        publisher = ephemeral._Publisher()
        monkeypatch.setattr(ephemeral, "_publisher", publisher)
        agent = AgentCaller(factories.online())
        began = time.monotonic()
        # More than the queue holds, while the first attempt is still waiting for an answer.
        for _ in range(2000):
            publisher.publish([b"{}"])
        took = time.monotonic() - began
        assert agent.beat().status_code == 200
    assert took < ephemeral.TIMEOUT_SECONDS / 2
