"""Pause and resume: which descendants they include, and when they are refused."""

from datetime import timedelta

import pytest

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.workspaces.factories import booting, external, failed, hibernated, online, queued
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.transitions import FailureCode, TeardownReason, WorkspaceStatus
from workspaces.models import AgentToken, Heartbeat, Launch, LaunchOutcome, Workspace
from workspaces.provisioners.base import BackendState, Observation
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import BadParent, parents_first, reparent
from workspaces.services.launching.restart import restart
from workspaces.services.launching.resume import resume
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown
from workspaces.services.launching.wake import wake
from workspaces.services.stopping.pause import PAUSE, pause
from workspaces.services.stopping.shutdown import pause_all_for_shutdown
from workspaces.services.stopping.teardown import confirm_stopped
from workspaces.services.watching.crash_recovery import mark_dead_offline, restart_crashed

pytestmark = pytest.mark.django_db
S = WorkspaceStatus


def status_of(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def pause_tree(workspace):
    """Pause the workspace. Return the names of all that it paused."""
    return [row.name for row in pause(workspace_id=workspace.pk, now=database_now()).changed]


def resume_tree(workspace):
    return [row.name for row in resume(workspace_id=workspace.pk, now=database_now()).changed]


@pytest.fixture
def parent():
    return online(name="parent")


@pytest.fixture
def child(parent):
    return online(name="child", parent_id=parent.pk)


@pytest.fixture
def grandchild(child):
    return online(name="grandchild", parent_id=child.pk)


# --- Pause ---------------------------------------------------------------------------------------


def test_a_pause_schedules_teardowns_and_records_which_ancestor_was_paused(parent, grandchild):
    now = database_now()
    assert pause_tree(parent) == ["parent", "child", "grandchild"]
    assert Workspace.objects.get(pk=parent.pk).paused_by is None
    assert Workspace.objects.get(pk=grandchild.pk).paused_by == parent.pk
    for launch in Launch.objects.all():
        assert (launch.teardown_reason, launch.torn_down_at) == (TeardownReason.PAUSED, None)
        assert launch.teardown_at >= now
    events = Event.objects.filter(event_type=EventType.WORKSPACE_PAUSED)
    assert {event.workspace_id for event in events} == set(Workspace.objects.values_list("pk", flat=True))


def test_a_pause_leaves_siblings_and_ancestors_alone(child):
    sibling = online(name="sibling", parent_id=child.parent_id)
    assert pause_tree(child) == ["child"]
    assert status_of(sibling) == S.ONLINE
    assert Workspace.objects.get(pk=child.parent_id).status == S.ONLINE


@pytest.mark.parametrize("source", sorted(PAUSE.sources))
def test_a_pause_includes_descendants_that_may_run_again(parent, source):
    below = online(name="below", parent_id=parent.pk)
    set_status(below, source)
    assert pause_tree(parent) == ["parent", "below"]
    below.refresh_from_db()
    assert (below.status, below.deadline_at, below.phase) == (S.PAUSED, None, "")


def test_pausing_a_queued_workspace_leaves_nothing_to_tear_down():
    waiting = queued()
    pause_tree(waiting)
    launch = Launch.objects.get(pk=waiting.launch_id)
    assert (launch.outcome, launch.torn_down_at is not None) == (LaunchOutcome.WITHDRAWN, True)


def test_a_pause_ends_the_grace_period_of_a_deadline_failure():
    late = failed(code=FailureCode.TIMED_OUT)
    assert Launch.objects.get(pk=late.launch_id).teardown_at > database_now()
    pause_tree(late)
    assert Launch.objects.get(pk=late.launch_id).teardown_at <= database_now()


@pytest.mark.parametrize("status", [S.PAUSED, S.REMOVED])
def test_a_paused_or_removed_workspace_cannot_be_paused(parent, status):
    set_status(parent, status)
    with pytest.raises(TransitionRefused, match="parent is"):
        pause_tree(parent)


def test_pausing_an_unknown_workspace_is_an_error(parent):
    with pytest.raises(UnknownWorkspace):
        pause(workspace_id=parent.launch_id, now=database_now())


# --- Resume --------------------------------------------------------------------------------------


def test_a_resume_includes_only_descendants_that_were_paused_with_the_workspace(parent, grandchild):
    by_itself = online(name="by_itself", parent_id=parent.pk)
    pause_tree(by_itself)
    pause_tree(parent)
    assert resume_tree(parent) == ["parent", "child", "grandchild"]
    assert status_of(by_itself) == S.PAUSED
    assert Workspace.objects.filter(status=S.PROVISIONING, paused_by=None).count() == 3


def test_a_resume_begins_a_new_launch_and_leaves_the_earlier_one_due_for_teardown(parent):
    pause_tree(parent)
    resume_tree(parent)
    again = Workspace.objects.get(pk=parent.pk)
    assert again.launch_id != parent.launch_id
    assert again.deadline_at > database_now()
    assert Launch.objects.get(pk=parent.launch_id).teardown_at <= database_now()
    payload = Event.objects.filter(workspace_id=parent.pk).latest("id").payload
    assert (payload["name"], payload["deadline_at"]) == ("parent", again.deadline_at.isoformat())


def test_a_resume_clears_the_tasks_that_the_last_launch_reported(parent):
    Heartbeat.objects.filter(pk=parent.pk).update(active_tasks=3, current_task="deep", error_rate=0.7)
    pause_tree(parent)
    resume_tree(parent)
    beat = Heartbeat.objects.get(pk=parent.pk)
    assert (beat.active_tasks, beat.current_task, beat.error_rate, beat.idle_since) == (0, "", 0, None)


def test_a_resume_below_a_paused_ancestor_is_refused_and_names_it(parent, grandchild):
    pause_tree(parent)
    with pytest.raises(TransitionRefused, match="its ancestor child is paused"):
        resume_tree(grandchild)
    assert status_of(grandchild) == S.PAUSED


def test_a_resume_leaves_descendants_of_a_paused_child_paused(parent, grandchild):
    pause_tree(parent)
    # As if an operator had paused the child, and the parent's pause only what is below it.
    Workspace.objects.filter(name="child").update(paused_by=None)
    assert resume_tree(parent) == ["parent"]
    assert status_of(grandchild) == S.PAUSED


@pytest.mark.parametrize("status", sorted(set(S) - {S.PAUSED}))
def test_a_resume_is_refused_from_every_other_status(parent, status):
    set_status(parent, status)
    with pytest.raises(TransitionRefused):
        resume_tree(parent)


# --- External ------------------------------------------------------------------------------------


def test_an_external_workspace_keeps_its_url_launch_and_token_through_a_pause():
    mine = external(url="http://localhost:8080")
    pause_tree(mine)
    assert Launch.objects.get(pk=mine.launch_id).outcome == LaunchOutcome.IN_FLIGHT
    assert resume_tree(mine) == ["external"]
    again = Workspace.objects.get(pk=mine.pk)
    assert (again.status, again.launch_id, again.url) == (S.AWAITING_AGENT, mine.launch_id, "http://localhost:8080")
    assert AgentToken.objects.filter(launch_id=again.launch_id, revoked_at=None).count() == 1
    assert Event.objects.filter(workspace_id=mine.pk).latest("id").event_type == EventType.WORKSPACE_AWAITING_AGENT


def test_a_tree_with_an_external_workspace_is_resumed_together(parent):
    external(name="theirs", parent_id=parent.pk)
    pause_tree(parent)
    assert resume_tree(parent) == ["parent", "theirs"]
    assert Workspace.objects.get(name="theirs").status == S.AWAITING_AGENT


# --- Below a paused workspace --------------------------------------------------------------------


def test_a_workspace_cannot_be_created_below_a_paused_ancestor(parent, child):
    pause_tree(parent)
    # The child runs below a paused parent, as if the cascade had missed it.
    set_status(child, S.ONLINE, paused_by=None)
    for place in (parent, child):
        with pytest.raises(InvalidWorkspace, match="parent is paused"):
            queued(parent_id=place.pk)


def test_a_workspace_below_a_paused_ancestor_cannot_be_restarted_or_woken(parent, child):
    asleep = hibernated(name="asleep", parent_id=parent.pk)
    pause_tree(parent)
    set_status(child, S.ONLINE, paused_by=None)
    set_status(asleep, S.HIBERNATED, paused_by=None)
    with pytest.raises(TransitionRefused, match="its ancestor parent is paused"):
        restart(workspace_id=child.pk, now=database_now())
    with pytest.raises(TransitionRefused, match="its ancestor parent is paused"):
        wake(workspace_id=asleep.pk, now=database_now())


# --- Another parent ------------------------------------------------------------------------------


def test_descendants_move_with_their_workspace(parent, grandchild):
    elsewhere = online(name="elsewhere")
    child = Workspace.objects.get(name="child")
    reparent(workspace_id=child.pk, parent_id=elsewhere.pk)
    assert pause_tree(elsewhere) == ["elsewhere", "child", "grandchild"]
    assert status_of(parent) == S.ONLINE


def test_a_workspace_can_lose_its_parent_without_an_event(child):
    before = Event.objects.count()
    assert reparent(workspace_id=child.pk, parent_id=None).parent_id is None
    assert (Workspace.objects.get(pk=child.pk).version, Event.objects.count()) == (child.version, before)


def test_a_workspace_cannot_be_moved_below_itself_or_its_descendants(parent, grandchild):
    for place in (parent, grandchild):
        with pytest.raises(BadParent, match="can't be put under itself"):
            reparent(workspace_id=parent.pk, parent_id=place.pk)


def test_a_workspace_cannot_be_moved_below_a_removed_paused_or_unknown_one(parent):
    place = online(name="place")
    for unfit, why in ((S.PAUSED, "place is paused"), (S.REMOVED, "no workspace")):
        set_status(place, unfit)
        with pytest.raises(BadParent, match=why):
            reparent(workspace_id=parent.pk, parent_id=place.pk)
    with pytest.raises(BadParent, match="no workspace"):
        reparent(workspace_id=parent.pk, parent_id=parent.launch_id)
    with pytest.raises(UnknownWorkspace):
        reparent(workspace_id=parent.launch_id, parent_id=None)


def test_a_workspace_that_left_a_paused_tree_is_resumed_on_its_own(parent, grandchild):
    pause_tree(parent)
    child = Workspace.objects.get(name="child")
    reparent(workspace_id=child.pk, parent_id=None)
    assert resume_tree(parent) == ["parent"]
    assert resume_tree(child) == ["child"]
    assert resume_tree(grandchild) == ["grandchild"]


def test_parents_come_before_their_children(parent, grandchild):
    child = Workspace.objects.get(name="child")
    unknown = parent.launch_id
    assert parents_first([grandchild.pk, unknown, child.pk, parent.pk]) == [parent.pk, child.pk, grandchild.pk, unknown]


# --- Shutdown ------------------------------------------------------------------------------------


def test_only_workspaces_that_the_shutdown_paused_are_resumed_after_it(parent, child):
    pause_tree(child)
    pause_all_for_shutdown(now=database_now())
    assert [row.name for row in resume_after_shutdown(now=database_now())] == ["parent"]
    assert status_of(child) == S.PAUSED


def test_a_shutdown_cancels_scheduled_restarts_and_tears_down_failed_launches(parent):
    late = failed(name="late", code=FailureCode.TIMED_OUT)
    set_status(parent, S.OFFLINE, restart_due_at=database_now() + timedelta(seconds=10))
    due = pause_all_for_shutdown(now=database_now())
    assert {launch.pk for launch in due} == {parent.launch_id, late.launch_id}
    assert Workspace.objects.get(pk=parent.pk).restart_due_at is None


def test_a_shutdown_leaves_a_crashed_workspace_offline_with_its_scheduled_restart(parent):
    now = database_now()
    died = Observation(state=BackendState.EXITED, exit_code=1)
    mark_dead_offline(workspace_id=parent.pk, launch_id=parent.launch_id, observation=died, now=now)
    confirm_stopped(launch_id=parent.launch_id, now=now)
    assert pause_all_for_shutdown(now=now) == []
    assert status_of(parent) == S.OFFLINE
    assert [row.pk for row in restart_crashed(now=now + timedelta(minutes=1))] == [parent.pk]


def test_a_workspace_below_an_operators_pause_is_not_resumed_after_a_shutdown(parent):
    asleep = hibernated(name="asleep")
    below = booting(name="below", parent_id=asleep.pk)
    pause_all_for_shutdown(now=database_now())
    assert pause_tree(asleep) == ["asleep"]
    assert [row.name for row in resume_after_shutdown(now=database_now())] == ["parent"]
    assert status_of(below) == S.PAUSED
