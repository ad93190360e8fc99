"""Heartbeats at the same time as a restart, a removal or another heartbeat: one winner, and nothing half stored."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from tests.callers import AgentCaller
from tests.waiting import wait_until
from tests.workspaces.factories import online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Heartbeat, Workspace
from workspaces.operations import remove, restart

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
