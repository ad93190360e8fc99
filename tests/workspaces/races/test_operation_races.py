"""Two operations at once, in either order: the first one commits once the second one waits for its lock."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction

from events.models import Event
from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import bring_online, external, hibernated, online, queued, running_on
from workspaces.lifecycle.transitions import Verb, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.core.trees import BadParent, reparent
from workspaces.services.launching.restart import restart
from workspaces.services.launching.resume import resume
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown
from workspaces.services.launching.wake import wake
from workspaces.services.stopping.hibernate import hibernate
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.shutdown import pause_all_for_shutdown
from workspaces.services.stopping.teardown import tear_down

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_SECONDS = PATIENCE_SECONDS
S = WorkspaceStatus
Action = Callable[[], Any]
Refused = (TransitionRefused, InvalidWorkspace, BadParent)
ORDERS = pytest.mark.parametrize("is_swapped", [False, True], ids=["as named", "swapped"])


def in_order(first, second):
    """Run the first up to its commit, let the second run into its locks (or through), then commit the first."""
    pids = []
    done, held = threading.Event(), threading.Event()

    def run_first():
        try:
            with transaction.atomic():
                result = _outcome(first)
                held.set()
                _until(lambda: done.is_set() or (bool(pids) and _waits(pids[0])))
            return result
        finally:
            held.set()
            connection.close()

    def run_second():
        try:
            assert held.wait(WAIT_SECONDS)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pids.append(cursor.fetchone()[0])
            return _outcome(second)
        finally:
            done.set()
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run_first), pool.submit(run_second)]
        return [future.result(WAIT_SECONDS * 2) for future in futures]


def _outcome(action):
    try:
        with transaction.atomic():
            return action()
    except Refused as refused:
        return refused


def _waits(pid):
    with connection.cursor() as cursor:
        cursor.execute("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [pid])
        # There is none any more if it has just ended.
        return cursor.fetchone() == (True,)


def _until(holds):
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, "the second neither waited nor finished"
        time.sleep(0.01)


def run_both(is_swapped, one, other):
    """Run both in the given order and check the log. Return the results of `one` and `other`."""
    results = in_order(other, one)[::-1] if is_swapped else in_order(one, other)
    for workspace in Workspace.objects.all():
        moves = Event.objects.filter(workspace_id=workspace.pk, is_move=True).order_by("version")
        assert list(moves.values_list("version", flat=True)) == list(range(1, workspace.version + 1))
    return results


def status(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def now():
    return database_now()


@pytest.fixture
def parent():
    return online(name="parent")


@pytest.fixture
def child(parent):
    return online(name="child", parent_id=parent.pk)


def pause_of(workspace):
    return lambda: pause(workspace_id=workspace.pk, now=now())


@ORDERS
def test_a_child_created_while_its_parent_is_paused_is_refused_or_paused_too(parent, is_swapped):
    _, created = run_both(is_swapped, pause_of(parent), lambda: queued(name="new", parent_id=parent.pk))
    if is_swapped:
        assert status(created) == S.PAUSED
    else:
        assert "parent is paused" in str(created)
        assert not Workspace.objects.filter(name="new").exists()


@ORDERS
def test_a_child_resumed_while_its_parent_is_paused_ends_up_paused(parent, child, is_swapped):
    pause_of(child)()
    _, resumed = run_both(is_swapped, pause_of(parent), lambda: resume(workspace_id=child.pk, now=now()))
    assert (status(parent), status(child)) == (S.PAUSED, S.PAUSED)
    child.refresh_from_db()
    # Resumed first, it is paused with its parent. Otherwise it stays paused on its own.
    assert child.paused_by == (parent.pk if is_swapped else None)
    assert isinstance(resumed, TransitionRefused) is not is_swapped


@ORDERS
def test_a_child_restarted_while_its_parent_is_paused_ends_up_paused(parent, child, is_swapped):
    _, restarted = run_both(is_swapped, pause_of(parent), lambda: restart(workspace_id=child.pk, now=now()))
    assert status(child) == S.PAUSED
    assert isinstance(restarted, TransitionRefused) is not is_swapped


@ORDERS
def test_a_child_woken_while_its_parent_is_paused_ends_up_paused(parent, is_swapped):
    asleep = hibernated(name="asleep", parent_id=parent.pk)
    _, woken = run_both(is_swapped, pause_of(parent), lambda: wake(workspace_id=asleep.pk, now=now()))
    assert status(asleep) == S.PAUSED
    assert isinstance(woken, TransitionRefused) is not is_swapped


@ORDERS
def test_a_workspace_moved_below_a_parent_during_its_pause_is_refused_or_paused_too(parent, is_swapped):
    other = online(name="other")
    _, moved = run_both(is_swapped, pause_of(parent), lambda: reparent(workspace_id=other.pk, parent_id=parent.pk))
    assert isinstance(moved, BadParent) is not is_swapped
    assert status(other) == (S.PAUSED if is_swapped else S.ONLINE)


@ORDERS
def test_a_child_that_leaves_its_parent_is_paused_only_if_the_pause_comes_first(parent, child, is_swapped):
    run_both(is_swapped, pause_of(parent), lambda: reparent(workspace_id=child.pk, parent_id=None))
    child.refresh_from_db()
    assert (child.parent_id, child.paused_by) == (None, None)
    assert child.status == (S.ONLINE if is_swapped else S.PAUSED)


@ORDERS
def test_a_workspace_moved_and_paused_at_once_ends_up_moved_and_paused(child, is_swapped):
    elsewhere = online(name="elsewhere")
    run_both(is_swapped, lambda: reparent(workspace_id=child.pk, parent_id=elsewhere.pk), pause_of(child))
    child.refresh_from_db()
    assert (child.parent_id, child.status) == (elsewhere.pk, S.PAUSED)


@ORDERS
def test_two_workspaces_cannot_become_parents_of_each_other(is_swapped):
    one, other = online(name="one"), online(name="other")
    results = run_both(
        is_swapped,
        lambda: reparent(workspace_id=one.pk, parent_id=other.pk),
        lambda: reparent(workspace_id=other.pk, parent_id=one.pk),
    )
    assert [isinstance(result, BadParent) for result in results] == [is_swapped, not is_swapped]


@ORDERS
def test_a_workspace_paused_while_its_agent_registers_ends_up_paused(parent, is_swapped):
    restart(workspace_id=parent.pk, now=now())
    again = Workspace.objects.get(pk=parent.pk)
    _, registered = run_both(is_swapped, pause_of(again), lambda: bring_online(again))
    assert status(parent) == S.PAUSED
    assert isinstance(registered, TransitionRefused) is not is_swapped


@ORDERS
def test_an_external_workspace_paused_while_its_agent_reports_ends_up_paused(is_swapped):
    mine = external()
    _, registered = run_both(is_swapped, pause_of(mine), lambda: bring_online(mine, verb=Verb.HEARTBEAT))
    assert status(mine) == S.PAUSED
    assert isinstance(registered, TransitionRefused) is not is_swapped


@ORDERS
def test_a_task_that_begins_during_a_hibernation_prevents_the_stop(parent, fake, is_swapped):
    key = running_on(fake, parent)
    agent = AgentCaller(parent)
    claim = lambda: hibernate(workspace_id=parent.pk, forced=False, now=now())  # noqa: E731
    claimed, _ = run_both(is_swapped, claim, lambda: agent.beat(active_tasks=1))
    # A task that is reported before the claim prevents it; one that is reported later cancels it.
    tear_down(launch_id=parent.launch_id, now=now())
    assert isinstance(claimed, TransitionRefused) is is_swapped
    assert (status(parent), ("stop", key) in fake.calls) == (S.ONLINE, False)


@ORDERS
def test_a_workspace_hibernated_while_it_is_paused_ends_up_paused(parent, is_swapped):
    claim = lambda: hibernate(workspace_id=parent.pk, forced=False, now=now())  # noqa: E731
    claimed, _ = run_both(is_swapped, claim, pause_of(parent))
    assert status(parent) == S.PAUSED
    assert isinstance(claimed, TransitionRefused) is is_swapped


@ORDERS
def test_a_child_created_while_its_parent_is_removed_is_refused_or_removed_too(parent, is_swapped):
    removal = lambda: remove(workspace_id=parent.pk, confirmed=True, now=now())  # noqa: E731
    _, created = run_both(is_swapped, removal, lambda: queued(name="new", parent_id=parent.pk))
    assert status(parent) == S.REMOVED
    assert isinstance(created, InvalidWorkspace) is not is_swapped
    assert not Workspace.objects.not_removed().exists()


@ORDERS
def test_two_wakes_begin_one_launch(is_swapped):
    asleep = hibernated()
    wake_it = lambda: wake(workspace_id=asleep.pk, now=now())  # noqa: E731
    results = run_both(is_swapped, wake_it, wake_it)
    assert sorted(isinstance(result, TransitionRefused) for result in results) == [False, True]


@ORDERS
def test_a_shutdown_and_a_pause_of_a_tree_do_not_wait_for_each_other(parent, child, is_swapped):
    run_both(is_swapped, pause_of(parent), lambda: pause_all_for_shutdown(now=now()))
    assert (status(parent), status(child)) == (S.PAUSED, S.PAUSED)
    # Only workspaces that the shutdown paused are resumed after it.
    assert len(resume_after_shutdown(now=now())) == (2 if is_swapped else 0)
