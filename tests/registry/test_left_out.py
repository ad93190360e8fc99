"""What it means that a heartbeat leaves out a field: existing runtimes say some things so, and not others."""

import pytest

from tests.callers import AgentCaller
from tests.workspaces.factories import online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Heartbeat, Workspace

pytestmark = pytest.mark.django_db

FIRST = {
    "error_rate": 0.2,
    "sample_error": "429 from the model",
    "active_tasks": 3,
    "uptime_seconds": 60,
    "current_task": "reading",
    "monthly_spend": 120,
    "runtime_state": "wedged",
    "runtime_metadata": {"capabilities": {"chat": True}, "idle_timeout_seconds": 900.0},
}
AFTERWARDS = FIRST | {"current_task": "", "runtime_state": ""}


@pytest.fixture
def agent():
    return AgentCaller(online())


def stored(agent):
    return Heartbeat.objects.filter(pk=agent.workspace.pk).values(*FIRST).get()


@pytest.mark.parametrize("field", FIRST)
def test_each_field_that_is_left_out_has_its_meaning(agent, field):
    agent.beat(**FIRST)
    assert stored(agent) == FIRST
    agent.beat(**{name: value for name, value in FIRST.items() if name != field})
    assert stored(agent) == FIRST | {field: AFTERWARDS[field]}


@pytest.mark.parametrize("beat", [{}, dict.fromkeys(FIRST), {"monthly_spend": 0}])
def test_a_bare_heartbeat_says_idle_and_not_wedged_and_keeps_the_rest(agent, beat):
    agent.beat(**FIRST)
    assert agent.beat(**beat).json() == {"status": "ok"}
    assert stored(agent) == AFTERWARDS


def test_a_runtime_whose_wedge_is_cleared_stops_saying_so_and_recovers(agent):
    status = Workspace.objects.filter(pk=agent.workspace.pk).values_list("status", flat=True)
    agent.beat(error_rate=0.0, runtime_state="wedged", sample_error="the SDK hangs")
    assert status.get() == WorkspaceStatus.DEGRADED
    # It keeps sending its last error.
    agent.beat(error_rate=0.0, sample_error="the SDK hangs")
    assert status.get() == WorkspaceStatus.ONLINE


@pytest.mark.parametrize(("field", "wrong"), [("runtime_state", "asleep"), ("current_task", 5)])
def test_a_field_that_can_not_be_used_was_not_left_out(agent, field, wrong):
    agent.beat(**FIRST)
    assert list(agent.beat(**{field: wrong}).json()["ignored"]) == [field]
    assert stored(agent)[field] == FIRST[field]


def test_an_agent_that_leaves_out_its_error_rate_stays_degraded_by_its_last_one(agent):
    agent.beat(error_rate=0.9)
    agent.beat()
    assert Workspace.objects.get(pk=agent.workspace.pk).status == WorkspaceStatus.DEGRADED
