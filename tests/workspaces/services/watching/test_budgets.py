"""Budgets: told at 80 % and 100 %, once a month each, by event and channel; paused only if the workspace says so."""

from datetime import date

import pytest

from events.models import Event
from events.names import EventType
from tests.callers import AgentCaller, holder
from tests.events.payload_schemas import misfits
from tests.workspaces.factories import external, failed, online
from tests.workspaces.set_clock import set_clock
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Heartbeat, Launch, Workspace
from workspaces.operations import pause, remove, resume

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def within_a_month(db):
    """Let the clock stand still, so that no month ends meanwhile."""
    with set_clock():
        yield


def limited(*, action="notify", limit=1000, make=online, **fields):
    return make(budget_limit=limit, budget_action=action, **fields)


def connected(**fields):
    """An external workspace, whose token stays valid while it is paused."""
    return external(url="http://localhost:9", **fields)


def told(workspace):
    events = Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_OVER_BUDGET)
    return [(event.payload["percent"], event.payload["monthly_spend"]) for event in events.order_by("id")]


@pytest.mark.parametrize(
    ("spends", "said"),
    [
        ([1, 799], []),
        ([800], [(80, 800)]),
        ([800, 850, 999], [(80, 800)]),
        ([800, 1000, 2000], [(80, 800), (100, 1000)]),
        ([1000, 1000], [(100, 1000)]),
        ([1000, 800, 1000], [(100, 1000)]),
        ([0], []),
    ],
)
def test_each_level_is_told_once(spends, said):
    workspace = limited()
    agent = AgentCaller(workspace)
    for spent in spends:
        assert agent.beat(monthly_spend=spent).status_code == 200
    assert told(workspace) == said
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.ONLINE


def test_the_event_is_the_catalogues_and_moves_nothing():
    workspace = limited()
    AgentCaller(workspace).beat(monthly_spend=900)
    event = Event.objects.get(event_type=EventType.WORKSPACE_OVER_BUDGET)
    assert event.payload == {
        "budget_limit": 1000,
        "monthly_spend": 900,
        "percent": 80,
        "budget_action": "notify",
        "version": workspace.version,
    }
    assert misfits(event.event_type, event.payload) == []
    assert Workspace.objects.get(pk=workspace.pk).version == workspace.version


@pytest.mark.parametrize(
    ("limit", "spent", "said"), [(None, 10**12, []), (0, 0, []), (0, 1, [(100, 1)]), (1, 1, [(100, 1)])]
)
def test_without_a_budget_nothing_is_told_and_a_budget_of_zero_is_reached_by_a_cent(limit, spent, said):
    workspace = limited(limit=limit)
    AgentCaller(workspace).beat(monthly_spend=spent)
    assert told(workspace) == said


def test_a_workspace_that_is_to_pause_does_at_its_limit_with_its_descendants():
    workspace = limited(action="pause")
    child = online(parent_id=workspace.pk)
    agent = AgentCaller(workspace)
    agent.beat(monthly_spend=900)
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.ONLINE
    assert agent.beat(monthly_spend=1000).status_code == 200
    rows = Workspace.objects.filter(pk__in=[workspace.pk, child.pk])
    assert {row.status for row in rows} == {WorkspaceStatus.PAUSED}
    assert Launch.objects.filter(pk=workspace.launch_id, teardown_at__isnull=False).exists()
    # Somebody resumes it, although the month is not over: it is left alone.
    resume(workspace.pk)
    AgentCaller(Workspace.objects.get(pk=workspace.pk)).beat(monthly_spend=1100)
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.ONLINE
    assert told(workspace) == [(80, 900), (100, 1000)]


def test_a_failed_workspace_is_paused_too_so_that_its_policy_does_not_restart_it():
    workspace = limited(action="pause", make=failed)
    AgentCaller(workspace).beat(monthly_spend=1000)
    assert told(workspace) == [(100, 1000)]
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.PAUSED


def test_a_workspace_that_was_paused_when_its_budget_was_spent_is_paused_again_after_a_resume():
    workspace = limited(action="pause", make=connected)
    pause(workspace.pk)
    agent = AgentCaller(workspace)
    agent.beat(monthly_spend=1000)
    assert told(workspace) == []
    resume(workspace.pk)
    agent.beat(monthly_spend=1000)
    assert told(workspace) == [(100, 1000)]
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.PAUSED


@pytest.mark.parametrize("is_registering", [True, False])
def test_a_budget_that_is_lowered_during_a_pause_counts_when_the_agent_is_back_although_it_reports_no_spend(
    is_registering,
):
    workspace = limited(action="pause", make=connected)
    agent = AgentCaller(workspace)
    agent.beat(monthly_spend=700)
    pause(workspace.pk)
    patch(workspace, {"budget_limit": 500})
    assert told(workspace) == []
    resume(workspace.pk)
    answer = agent.register() if is_registering else agent.beat(monthly_spend=0)
    assert answer.status_code == 200
    assert told(workspace) == [(100, 700)]
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.PAUSED


def test_in_a_new_month_the_spend_begins_at_zero_and_is_told_again():
    workspace = limited()
    agent = AgentCaller(workspace)
    agent.beat(monthly_spend=1000)
    Heartbeat.objects.update(spend_month=date(2020, 1, 1))
    Workspace.objects.update(budget_told_month=date(2020, 1, 1))
    path = f"/workspaces/{workspace.pk}"
    reader = holder(ApiScope.READ)
    assert reader.get(f"{path}/budget").json()["budget_used"] == reader.get(path).json()["monthly_spend"] == 0
    agent.beat()
    assert Heartbeat.objects.get(pk=workspace.pk).monthly_spend == 0
    agent.beat(monthly_spend=1000)
    assert told(workspace) == [(100, 1000), (100, 1000)]


def patch(workspace, body):
    operator = holder(ApiScope.OPERATE)
    path = f"/workspaces/{workspace.pk}/budget"
    return operator.client.patch(path, body, content_type="application/json", headers=operator.headers)


def test_another_budget_is_judged_at_once_and_told_anew():
    workspace = limited(limit=None)
    AgentCaller(workspace).beat(monthly_spend=700)
    assert patch(workspace, {"budget_limit": 800}).status_code == 200
    assert patch(workspace, {"budget_limit": 10_000}).json()["budget_remaining"] == 9300
    answer = patch(workspace, {"budget_limit": 600, "budget_action": "pause"})
    assert answer.json()["budget_action"] == "pause"
    assert told(workspace) == [(80, 700), (100, 700)]
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.PAUSED


def test_a_budget_that_is_set_again_as_it_was_is_not_told_again():
    workspace = limited()
    AgentCaller(workspace).beat(monthly_spend=1000)
    for _ in range(2):
        assert patch(workspace, {"budget_limit": 1000, "budget_action": "notify"}).status_code == 200
    assert told(workspace) == [(100, 1000)]
    patch(workspace, {"budget_limit": 1000, "budget_action": "pause"})
    assert told(workspace) == [(100, 1000)] * 2
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.PAUSED


def test_an_unknown_action_is_refused_and_a_removed_workspace_is_gone():
    workspace = limited()
    assert patch(workspace, {"budget_limit": 1, "budget_action": "shout"}).status_code == 422
    remove(workspace.pk)
    assert patch(workspace, {"budget_limit": 1}).status_code == 410
