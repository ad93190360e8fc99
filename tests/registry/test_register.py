"""An agent registers."""

import pytest

from tests.callers import AgentCaller
from tests.workspaces.factories import booting
from workspaces.lifecycle import WorkspaceStatus
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


def test_a_register_completes_the_boot() -> None:
    stuck = booting()
    answer = AgentCaller(stuck).register(agent_card={"name": "hermes", "skills": [{"id": "x"}]})
    assert (answer.status_code, answer.content) == (200, b'{"status":"registered"}')
    stuck.refresh_from_db()
    assert stuck.status == WorkspaceStatus.ONLINE
    assert stuck.agent_card == {"name": "hermes", "skills": [{"id": "x"}]}


def test_health_needs_no_database(client) -> None:
    assert client.get("/health").content == b'{"status":"ok"}'


def test_all() -> None:
    a = AgentCaller(booting())
    assert a.progress().json()["deadline_at"]
    assert a.failed().content == b'{"status":"ok"}'
    assert a.failed().content == b'{"status":"ok","no_change":true}'
    b = AgentCaller(booting())
    assert b.beat(error_rate=0.1).json() == {"status": "ok"}
    assert b.beat(error_rate=0.9).json() == {"status": "ok"}
    assert Workspace.objects.get(pk=b.workspace.pk).status == "degraded"
