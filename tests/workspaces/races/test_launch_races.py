"""Races on threads, each with its own connection, the order forced at stated points."""

import threading

import pytest
from django.db import connection, transaction

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.workspaces.factories import booting, bring_online, later, online, queued
from tests.workspaces.races.interleaving import WAIT_SECONDS, run_together
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, FailureSource, WorkspaceStatus
from workspaces.models import Launch
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.launching import mark_online
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.teardown import claim_due_teardowns
from workspaces.services.watching import sweep as sweep_service
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db(transaction=True)
CRASHED = FailureReason(code=FailureCode.CRASHED, source=FailureSource.BOOTSTRAP_WATCHER, message="It broke.")


def failures(workspace):
    return Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_PROVISION_FAILED).count()


def assert_log_agrees(workspace):
    """Check that the versions of the transitions have no gap and end with the row's."""
    workspace.refresh_from_db()
    moves = Event.objects.filter(workspace_id=workspace.pk, is_move=True).order_by("version")
    assert list(moves.values_list("version", flat=True)) == list(range(1, workspace.version + 1))


def test_an_agent_that_registers_between_the_query_and_the_lock_of_a_sweep_stays_online(
    monkeypatch,
):
    late = booting()
    looked, registered = threading.Event(), threading.Event()
    overdue_workspaces = sweep_service.overdue_workspaces

    def look_then_wait(**arguments):
        # The sweep has seen the row overdue, by the very query it locks with; the agent is quicker to the lock.
        query = overdue_workspaces(**arguments)
        if not looked.is_set():
            assert [row.pk for row in query.all()] == [late.pk]
            looked.set()
        assert registered.wait(WAIT_SECONDS)
        return query

    monkeypatch.setattr(sweep_service, "overdue_workspaces", look_then_wait)

    def register():
        assert looked.wait(WAIT_SECONDS)
        bring_online(late)
        registered.set()

    report, _ = run_together(lambda: sweep_stuck(now=later(late, minutes=11), policy=Policy()), register)
    late.refresh_from_db()
    assert report.failed == []
    assert (late.status, failures(late)) == (WorkspaceStatus.ONLINE, 0)
    assert_log_agrees(late)


def test_a_sweep_skips_a_row_that_a_registration_has_locked(monkeypatch):
    late = booting()
    held, swept = threading.Event(), threading.Event()
    transition = mark_online.transition

    def hold_then_transition(*arguments):
        held.set()
        assert swept.wait(WAIT_SECONDS)
        transition(*arguments)

    monkeypatch.setattr("workspaces.services.launching.mark_online.transition", hold_then_transition)

    def sweep():
        assert held.wait(WAIT_SECONDS)
        try:
            return sweep_stuck(now=later(late, minutes=11), policy=Policy())
        finally:
            swept.set()

    report, _ = run_together(sweep, lambda: bring_online(late))
    late.refresh_from_db()
    assert report.failed == []
    assert (late.status, failures(late)) == (WorkspaceStatus.ONLINE, 0)


def test_a_registration_that_waits_for_the_sweep_recovers_from_its_failure(
    monkeypatch,
):
    late = booting()
    locked = threading.Event()
    fail_locked = sweep_service.fail_locked

    def signal_then_fail(*arguments, **named):
        locked.set()
        return fail_locked(*arguments, **named)

    monkeypatch.setattr(sweep_service, "fail_locked", signal_then_fail)

    def register():
        assert locked.wait(WAIT_SECONDS)
        return bring_online(late)

    report, arrived = run_together(lambda: sweep_stuck(now=later(late, minutes=11), policy=Policy()), register)
    assert [row.pk for row in report.failed] == [late.pk]
    assert arrived.status == WorkspaceStatus.ONLINE
    recovered = Event.objects.filter(workspace_id=late.pk).latest("id")
    assert recovered.payload["recovered_from"] == "failed"
    assert Launch.objects.get(pk=late.launch_id).teardown_at is None
    assert_log_agrees(late)


def test_two_sweeps_at_once_record_one_failure_of_each_workspace():
    late = [queued() for _ in range(20)]
    end = later(late[-1], minutes=11)
    sweep = lambda: sweep_stuck(now=end, policy=Policy())  # noqa: E731
    reports = run_together(sweep, sweep)
    assert sum(len(report.failed) for report in reports) == 20
    assert [failures(workspace) for workspace in late] == [1] * 20


def test_two_restarts_at_once_leave_one_current_launch():
    workspace = online()
    now = later(workspace, minutes=1)
    restart_now = lambda: restart(workspace_id=workspace.pk, now=now)  # noqa: E731
    run_together(restart_now, restart_now)
    assert_log_agrees(workspace)
    # Each restart begins a launch. All but the current one have a teardown, or never began.
    without_teardown = Launch.objects.not_torn_down().filter(workspace=workspace, teardown_at__isnull=True)
    assert [launch.pk for launch in without_teardown] == [workspace.launch_id]


def test_a_failure_reported_by_an_earlier_launch_never_fails_the_current_one():
    workspace = booting()
    earlier = workspace.launch_id
    restart(workspace_id=workspace.pk, now=later(workspace, minutes=1))
    with pytest.raises(TransitionRefused, match="another launch"):
        fail(workspace_id=workspace.pk, launch_id=earlier, reason=CRASHED, now=later(workspace, minutes=1))
    workspace.refresh_from_db()
    assert (workspace.status, failures(workspace)) == (WorkspaceStatus.PROVISIONING, 0)


def test_a_late_register_never_revives_a_removed_workspace():
    workspace = booting()
    now = later(workspace, minutes=1)
    results = run_together(
        lambda: remove(workspace_id=workspace.pk, confirmed=True, now=now), lambda: bring_online(workspace, now=now)
    )
    workspace.refresh_from_db()
    assert workspace.status == WorkspaceStatus.REMOVED
    assert [row.pk for row in results[0].changed] == [workspace.pk]
    assert_log_agrees(workspace)
    with pytest.raises(TransitionRefused):
        bring_online(workspace)


def test_fail_and_register_at_once_have_one_winner():
    for _ in range(5):
        workspace = booting()
        now = later(workspace, minutes=1)
        run_together(
            lambda w=workspace, n=now: fail(workspace_id=w.pk, launch_id=w.launch_id, reason=CRASHED, now=n),
            lambda w=workspace: bring_online(w),
        )
        assert_log_agrees(workspace)
        assert workspace.status in {WorkspaceStatus.ONLINE, WorkspaceStatus.FAILED}
        assert workspace.version == 2


def test_two_workers_claim_different_teardowns_without_waiting_for_each_other():
    first, second = (restart(workspace_id=online().pk, now=database_now()) for _ in range(2))
    now, claimed = database_now(), []
    with transaction.atomic():
        mine = claim_due_teardowns(now=now, workspace_id=first.workspace.pk)
        other = threading.Thread(target=lambda: claimed.append(_claim_in_another_connection(now)))
        other.start()
        other.join(WAIT_SECONDS)
        assert claimed, "it waits for a row that this transaction holds"
    (theirs,) = claimed
    assert (len(mine), len(theirs)) == (1, 1)
    assert set(mine).isdisjoint(theirs)
    assert Launch.objects.get(pk=theirs[0]).workspace_id == second.workspace.pk


def _claim_in_another_connection(now):
    try:
        return claim_due_teardowns(now=now)
    finally:
        connection.close()
