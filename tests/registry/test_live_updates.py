"""What a beat or a boot step tells those who look at present: over Redis, masked, stored nowhere."""

import json
import socket
import time

import pytest
import redis
from django.conf import settings

from events import ephemeral
from events.models import Event
from tests.callers import AgentCaller
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces import factories
from workspaces.access.secrets import put_secrets
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ear(monkeypatch):
    # What takes longer than usual is dropped, but here nothing may be.
    monkeypatch.setattr(ephemeral, "TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(ephemeral, "_publisher", ephemeral._Publisher())
    with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as subscription:
        subscription.subscribe(ephemeral.redis_channel())
        assert subscription.get_message(timeout=PATIENCE_SECONDS)["type"] == "subscribe"
        yield subscription


def heard(ear, count):
    return [json.loads(ear.get_message(timeout=PATIENCE_SECONDS)["data"]) for _ in range(count)]


def test_a_beat_is_told_with_its_task(ear):
    parent = factories.online(name="parent")
    child = factories.online(name="child", parent_id=parent.pk)
    AgentCaller(child).beat(active_tasks=2, uptime_seconds=90, current_task="read the mail")

    beat, task = heard(ear, 2)

    assert beat["event"] == "WORKSPACE_HEARTBEAT"
    assert beat["workspace_id"] == str(child.pk)
    assert beat["payload"] == {"active_tasks": 2, "uptime_seconds": 90, "version": child.version}
    assert beat["subject"] == {"name": "child", "runtime": "echo", "ancestors": [str(parent.pk)]}
    assert task["event"] == "TASK_UPDATED"
    assert task["payload"] == {"current_task": "read the mail", "active_tasks": 2, "version": child.version}


def test_a_task_that_did_not_change_is_told_once(ear):
    agent = AgentCaller(factories.online())
    for _ in range(2):
        agent.beat(active_tasks=1, current_task="read the mail")
    assert [told["event"] for told in heard(ear, 3)] == ["WORKSPACE_HEARTBEAT", "TASK_UPDATED", "WORKSPACE_HEARTBEAT"]


def test_a_task_is_told_without_secrets(ear):
    workspace = factories.online()
    put_secrets({"KEY": "hunter2-hunter2"}, workspace_id=workspace.pk)
    AgentCaller(workspace).beat(current_task="log in with hunter2-hunter2")
    assert "hunter2" not in json.dumps(heard(ear, 2))


def test_a_new_boot_step_is_told_and_a_repeated_one_is_not(ear):
    workspace = factories.booting()
    agent = AgentCaller(workspace)
    for step in ("install", "install", "start"):
        agent.progress(step=step)

    install, start = heard(ear, 2)

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


def test_a_redis_that_does_not_answer_costs_a_beat_nothing(settings, monkeypatch):
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
