"""What it means that a heartbeat leaves out a field: existing runtimes say some things so, and not others."""

import pytest

from tests.callers import AgentCaller, holder
from tests.workspaces.factories import online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Heartbeat, Workspace
from workspaces.operations import restart

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


CAPABILITIES, IDLE = {"chat": True}, 900.0


@pytest.mark.parametrize(
    ("metadata", "capabilities", "idle"),
    [
        ({"idle_timeout_seconds": 60}, CAPABILITIES, 60),
        ({"capabilities": None, "idle_timeout_seconds": 60}, CAPABILITIES, 60),
        ({"capabilities": "all", "idle_timeout_seconds": 60}, CAPABILITIES, 60),
        ({"capabilities": {}, "idle_timeout_seconds": 60}, {}, 60),
        ({"capabilities": {"retry": True}}, {"retry": True}, None),
        ({"capabilities": {"retry": True}, "idle_timeout_seconds": None}, {"retry": True}, None),
        ({"capabilities": {"retry": True}, "idle_timeout_seconds": "long"}, {"retry": True}, IDLE),
        ({}, CAPABILITIES, None),
        ("much", CAPABILITIES, IDLE),
        (None, CAPABILITIES, IDLE),
    ],
)
def test_each_part_of_the_metadata_that_is_left_out_has_its_meaning(agent, metadata, capabilities, idle):
    agent.beat(runtime_metadata={"capabilities": CAPABILITIES, "idle_timeout_seconds": IDLE})
    assert agent.beat(runtime_metadata=metadata).status_code == 200
    shown = holder(ApiScope.READ).get(f"/workspaces/{agent.workspace.pk}").json()
    assert (shown["capabilities"], shown["idle_timeout_seconds"]) == (capabilities, idle)


def test_an_agent_that_manages_its_status_still_does_when_it_repeats_a_beat_without_metadata(agent):
    agent.beat(runtime_metadata={"capabilities": {"status_mgmt": True}})
    agent.beat(error_rate=0.9)
    agent.beat(error_rate=0.9, runtime_metadata={"idle_timeout_seconds": 60})
    assert Workspace.objects.get(pk=agent.workspace.pk).status == WorkspaceStatus.ONLINE


@pytest.mark.parametrize("symptom", [{"runtime_state": "wedged"}, {"error_rate": 0.9, "runtime_state": ""}])
def test_a_register_says_that_the_process_began_so_its_wedge_and_its_errors_are_over(agent, symptom):
    agent.beat(**FIRST | symptom)
    status = Workspace.objects.filter(pk=agent.workspace.pk).values_list("status", flat=True)
    assert status.get() == WorkspaceStatus.DEGRADED
    # Also while online.
    for _ in range(2):
        assert agent.register().status_code == 200
        assert stored(agent) == FIRST | {"error_rate": 0, "runtime_state": ""}
        Heartbeat.objects.filter(pk=agent.workspace.pk).update(error_rate=0.4)
    agent.beat()
    assert status.get() == WorkspaceStatus.ONLINE


def test_a_new_launch_begins_with_nothing_but_the_spend(agent):
    agent.beat(**FIRST)
    restarted = AgentCaller(restart(agent.workspace.pk).workspace)
    restarted.beat()
    assert stored(restarted) == {
        "error_rate": 0,
        "sample_error": "",
        "active_tasks": 0,
        "uptime_seconds": 0,
        "current_task": "",
        "monthly_spend": 120,
        "runtime_state": "",
        "runtime_metadata": {},
    }


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"input_tokens": 5, "output_tokens": 7, "total_calls": 1}, (10, 14, 2)),
        ({"input_tokens": 5}, (10, 0, 0)),
        ({"input_tokens": 5, "counter": 3}, (5, 0, 0)),
        ({"counter": 3}, (0, 0, 0)),
        ({}, (0, 0, 0)),
    ],
)
def test_a_sum_that_is_left_out_of_the_usage_is_zero_and_without_a_counter_each_report_counts(agent, usage, counted):
    for _ in range(2):
        agent.beat(usage=usage)
    agent.beat()
    used = holder(ApiScope.READ).get(f"/workspaces/{agent.workspace.pk}/metrics").json()
    assert (used["input_tokens"], used["output_tokens"], used["total_calls"]) == counted


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
