"""What a heartbeat or a boot step publishes over Redis: masked, and not stored."""

import json
import socket
import time

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import ephemeral
from events.models import Event
from tests.callers import AgentCaller, Caller, holder
from tests.waiting import PATIENCE_SECONDS
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
        "deadline_at": "",
        "version": workspace.version,
    }
    assert start["payload"]["step"] == "start"
    assert start["payload"]["deadline_at"] == deadline_at.isoformat()
    assert not Event.objects.filter(event_type__in=["WORKSPACE_PROGRESS", "WORKSPACE_HEARTBEAT"]).exists()


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
