"""Heartbeats at the same time as a restart, a removal or another heartbeat: one winner, and nothing half stored."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from events.models import Event
from events.names import EventType
from tests.callers import AgentCaller
from tests.waiting import wait_until
from tests.workspaces.factories import online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Heartbeat, Usage, Workspace
from workspaces.operations import remove, restart
from workspaces.services.watching import liveness

pytestmark = pytest.mark.django_db(transaction=True)

REPORT = {"error_rate": 0.9, "active_tasks": 7, "runtime_state": "wedged", "current_task": "late"}


def waits_for_a_lock():
    with connection.cursor() as cursor:
        # Otherwise a transaction sees the activity as it was when it first looked.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] == 1


def beat_during(workspace, change):
    """Send a heartbeat while `change` is done but not committed. Return its answer."""
    agent = AgentCaller(workspace)

    def beat():
        try:
            return agent.beat(**REPORT)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            change()
            answer = threads.submit(beat)
            wait_until(lambda: answer.done() or waits_for_a_lock())
        return answer.result()


@pytest.mark.parametrize("change", [restart, remove])
def test_a_heartbeat_that_began_before_a_restart_or_removal_changes_nothing_after_it(change):
    workspace = online()
    answer = beat_during(workspace, lambda: change(workspace.pk))
    assert answer.status_code < 500
    now = Workspace.objects.get(pk=workspace.pk)
    if change is restart:
        stored = Heartbeat.objects.get(pk=workspace.pk)
        assert (stored.error_rate, stored.active_tasks, stored.runtime_state, stored.current_task) == (0, 0, "", "")
        assert stored.launch_id == now.launch_id
    assert now.status in {WorkspaceStatus.PROVISIONING, WorkspaceStatus.REMOVED}
    assert now.version == workspace.version + 1


def beats_at_once(workspace, fields, *, number=4):
    """Send the same heartbeat several times at once. Return how many were stored."""
    start = threading.Barrier(number)

    def beat(_):
        start.wait()
        try:
            return AgentCaller(workspace).beat(**fields).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as threads:
        answers = list(threads.map(beat, range(number)))
    # At most two requests of a workspace are worked on at once; the others are told to come again.
    assert set(answers) <= {200, 503}
    return answers.count(200)


def test_a_usage_report_that_is_sent_several_times_at_once_counts_once():
    workspace = online()
    for counter in range(1, 6):
        assert beats_at_once(workspace, {"usage": {"total_calls": 1, "counter": counter}}) >= 1
    assert Usage.objects.get(workspace=workspace).total_calls == 5


def test_usage_reports_without_a_counter_that_come_at_once_are_all_counted():
    workspace = online()
    stored = sum(beats_at_once(workspace, {"usage": {"total_calls": 1}}) for _ in range(5))
    assert Usage.objects.get(workspace=workspace).total_calls == stored


@pytest.mark.parametrize("action", ["notify", "pause"])
def test_a_budget_that_several_heartbeats_reach_at_once_is_told_once(action):
    workspace = online(budget_limit=1000, budget_action=action)
    assert beats_at_once(workspace, {"monthly_spend": 1000}) >= 1
    told = Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_OVER_BUDGET)
    assert [event.payload["percent"] for event in told] == [100]
    expected = WorkspaceStatus.PAUSED if action == "pause" else WorkspaceStatus.ONLINE
    assert Workspace.objects.get(pk=workspace.pk).status == expected


def test_of_many_heartbeats_at_once_each_is_answered_and_one_is_stored_whole():
    workspace = online()
    start = threading.Barrier(4)

    def beat(number):
        start.wait()
        try:
            agent = AgentCaller(workspace)
            return [
                agent.beat(active_tasks=number, uptime_seconds=number, current_task=str(number)).status_code
                for _ in range(10)
            ]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        answers = [status for statuses in threads.map(beat, range(1, 5)) for status in statuses]
    # At most two requests of a workspace are worked on at once; the others are told to come again.
    assert set(answers) <= {200, 503}
    assert 200 in answers
    beat = Heartbeat.objects.get(pk=workspace.pk)
    assert str(beat.active_tasks) == str(beat.uptime_seconds) == beat.current_task


def test_a_report_of_health_does_not_undo_a_wedge_that_was_stored_after_it(monkeypatch):
    workspace = online()
    agent = AgentCaller(workspace)
    agent.beat(runtime_state="wedged")
    recover = liveness.recover

    def recover_late(**arguments):
        agent.beat(runtime_state="wedged")
        return recover(**arguments)

    monkeypatch.setattr(liveness, "recover", recover_late)
    assert agent.beat().status_code == 200
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.DEGRADED
    assert not Event.objects.filter(workspace_id=workspace.pk, payload__recovered_from="degraded").exists()
    monkeypatch.undo()
    agent.beat()
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.ONLINE
