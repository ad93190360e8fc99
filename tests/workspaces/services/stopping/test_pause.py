"""Pause and resume: what they take along, what they leave, and when they are refused."""

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
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import BadParent, parents_first, reparent
from workspaces.services.launching.create import InvalidWorkspace
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


def paused(workspace):
    """Pause it; return the names of those that were moved."""
    return [row.name for row in pause(workspace_id=workspace.pk, now=database_now()).changed]


def resumed(workspace):
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


def test_a_pause_stores_the_intent_to_stop_and_who_took_whom_along(parent, grandchild):
    now = database_now()
    assert paused(parent) == ["parent", "child", "grandchild"]
    assert Workspace.objects.get(pk=parent.pk).paused_by is None
    assert Workspace.objects.get(pk=grandchild.pk).paused_by == parent.pk
    for launch in Launch.objects.all():
        assert (launch.teardown_reason, launch.torn_down_at) == (TeardownReason.PAUSED, None)
        assert launch.teardown_at >= now
    events = Event.objects.filter(event_type=EventType.WORKSPACE_PAUSED)
    assert {event.workspace_id for event in events} == set(Workspace.objects.values_list("pk", flat=True))


def test_a_pause_leaves_siblings_and_what_is_above_alone(child):
    sibling = online(name="sibling", parent_id=child.parent_id)
    assert paused(child) == ["child"]
    assert status_of(sibling) == S.ONLINE
    assert Workspace.objects.get(pk=child.parent_id).status == S.ONLINE


@pytest.mark.parametrize("source", sorted(PAUSE.sources))
def test_a_pause_takes_along_whatever_may_run_again(parent, source):
    below = online(name="below", parent_id=parent.pk)
    set_status(below, source)
    assert paused(parent) == ["parent", "below"]
    below.refresh_from_db()
    assert (below.status, below.deadline_at, below.phase) == (S.PAUSED, None, "")


def test_a_pause_of_what_never_began_to_launch_has_nothing_to_stop():
    waiting = queued()
    paused(waiting)
    launch = Launch.objects.get(pk=waiting.launch_id)
    assert (launch.outcome, launch.torn_down_at is not None) == (LaunchOutcome.WITHDRAWN, True)


def test_a_pause_ends_the_grace_of_a_failure_by_time():
    late = failed(code=FailureCode.TIMED_OUT)
    assert Launch.objects.get(pk=late.launch_id).teardown_at > database_now()
    paused(late)
    assert Launch.objects.get(pk=late.launch_id).teardown_at <= database_now()


@pytest.mark.parametrize("status", [S.PAUSED, S.REMOVED])
def test_a_pause_is_refused_where_the_table_has_none(parent, status):
    set_status(parent, status)
    with pytest.raises(TransitionRefused, match="parent is"):
        paused(parent)


def test_a_pause_of_nobody_is_unknown(parent):
    with pytest.raises(UnknownWorkspace):
        pause(workspace_id=parent.launch_id, now=database_now())


# --- Resume --------------------------------------------------------------------------------------


def test_a_resume_brings_back_what_that_very_pause_took_along(parent, grandchild):
    itself = online(name="itself", parent_id=parent.pk)
    paused(itself)
    paused(parent)
    assert resumed(parent) == ["parent", "child", "grandchild"]
    assert status_of(itself) == S.PAUSED
    assert Workspace.objects.filter(status=S.PROVISIONING, paused_by=None).count() == 3


def test_a_resume_begins_a_new_launch_whose_predecessor_is_to_stop(parent):
    paused(parent)
    resumed(parent)
    again = Workspace.objects.get(pk=parent.pk)
    assert again.launch_id != parent.launch_id
    assert again.deadline_at > database_now()
    assert Launch.objects.get(pk=parent.launch_id).teardown_at <= database_now()
    payload = Event.objects.filter(workspace_id=parent.pk).latest("id").payload
    assert (payload["name"], payload["deadline_at"]) == ("parent", again.deadline_at.isoformat())


def test_a_resume_forgets_the_tasks_that_the_last_launch_told_of(parent):
    Heartbeat.objects.filter(pk=parent.pk).update(active_tasks=3, current_task="deep", error_rate=0.7)
    paused(parent)
    resumed(parent)
    beat = Heartbeat.objects.get(pk=parent.pk)
    assert (beat.active_tasks, beat.current_task, beat.error_rate, beat.idle_since) == (0, "", 0, None)


def test_a_resume_under_a_paused_ancestor_is_refused_by_its_name(parent, grandchild):
    paused(parent)
    with pytest.raises(TransitionRefused, match="its ancestor child is paused"):
        resumed(grandchild)
    assert status_of(grandchild) == S.PAUSED


def test_a_resume_brings_nothing_back_below_one_that_stays_paused(parent, grandchild):
    paused(parent)
    # As where the child was paused for itself, and what is below it only by the parent's pause.
    Workspace.objects.filter(name="child").update(paused_by=None)
    assert resumed(parent) == ["parent"]
    assert status_of(grandchild) == S.PAUSED


@pytest.mark.parametrize("status", sorted(set(S) - {S.PAUSED}))
def test_a_resume_is_refused_from_every_other_status(parent, status):
    set_status(parent, status)
    with pytest.raises(TransitionRefused):
        resumed(parent)


# --- External ------------------------------------------------------------------------------------


def test_an_external_workspace_keeps_its_url_its_launch_and_its_token():
    mine = external(url="http://localhost:8080")
    paused(mine)
    assert Launch.objects.get(pk=mine.launch_id).outcome == LaunchOutcome.IN_FLIGHT
    assert resumed(mine) == ["external"]
    again = Workspace.objects.get(pk=mine.pk)
    assert (again.status, again.launch_id, again.url) == (S.AWAITING_AGENT, mine.launch_id, "http://localhost:8080")
    assert AgentToken.objects.filter(launch_id=again.launch_id, revoked_at=None).count() == 1
    assert Event.objects.filter(workspace_id=mine.pk).latest("id").event_type == EventType.WORKSPACE_AWAITING_AGENT


def test_a_tree_of_both_kinds_is_resumed_in_one_go(parent):
    external(name="theirs", parent_id=parent.pk)
    paused(parent)
    assert resumed(parent) == ["parent", "theirs"]
    assert Workspace.objects.get(name="theirs").status == S.AWAITING_AGENT


# --- Under a pause -------------------------------------------------------------------------------


def test_nothing_is_created_under_a_pause(parent, child):
    paused(parent)
    # Left out by the cascade, it runs under a paused one.
    set_status(child, S.ONLINE, paused_by=None)
    for place in (parent, child):
        with pytest.raises(InvalidWorkspace, match="parent is paused"):
            queued(parent_id=place.pk)


def test_nothing_is_restarted_or_woken_under_a_pause(parent, child):
    asleep = hibernated(name="asleep", parent_id=parent.pk)
    paused(parent)
    set_status(child, S.ONLINE, paused_by=None)
    set_status(asleep, S.HIBERNATED, paused_by=None)
    with pytest.raises(TransitionRefused, match="its ancestor parent is paused"):
        restart(workspace_id=child.pk, now=database_now())
    with pytest.raises(TransitionRefused, match="its ancestor parent is paused"):
        wake(workspace_id=asleep.pk, now=database_now())


# --- Another parent ------------------------------------------------------------------------------


def test_a_workspace_gets_another_parent_with_all_below_it(parent, grandchild):
    elsewhere = online(name="elsewhere")
    child = Workspace.objects.get(name="child")
    reparent(workspace_id=child.pk, parent_id=elsewhere.pk)
    assert paused(elsewhere) == ["elsewhere", "child", "grandchild"]
    assert status_of(parent) == S.ONLINE


def test_a_workspace_can_be_put_at_the_top(child):
    before = Event.objects.count()
    assert reparent(workspace_id=child.pk, parent_id=None).parent_id is None
    assert (Workspace.objects.get(pk=child.pk).version, Event.objects.count()) == (child.version, before)


def test_a_workspace_is_put_neither_under_itself_nor_under_its_own(parent, grandchild):
    for place in (parent, grandchild):
        with pytest.raises(BadParent, match="can't be put under itself"):
            reparent(workspace_id=parent.pk, parent_id=place.pk)


def test_a_workspace_is_put_under_nothing_removed_paused_or_unknown(parent):
    place = online(name="place")
    for unfit, why in ((S.PAUSED, "place is paused"), (S.REMOVED, "no workspace")):
        set_status(place, unfit)
        with pytest.raises(BadParent, match=why):
            reparent(workspace_id=parent.pk, parent_id=place.pk)
    with pytest.raises(BadParent, match="no workspace"):
        reparent(workspace_id=parent.pk, parent_id=parent.launch_id)
    with pytest.raises(UnknownWorkspace):
        reparent(workspace_id=parent.launch_id, parent_id=None)


def test_what_leaves_a_paused_tree_stands_paused_by_itself(parent, grandchild):
    paused(parent)
    child = Workspace.objects.get(name="child")
    reparent(workspace_id=child.pk, parent_id=None)
    assert resumed(parent) == ["parent"]
    assert resumed(child) == ["child"]
    assert resumed(grandchild) == ["grandchild"]


def test_upper_ones_come_first(parent, grandchild):
    child = Workspace.objects.get(name="child")
    unknown = parent.launch_id
    assert parents_first([grandchild.pk, unknown, child.pk, parent.pk]) == [parent.pk, child.pk, grandchild.pk, unknown]


# --- Slipway's own stop --------------------------------------------------------------------------


def test_a_shutdown_resumes_what_it_paused_and_not_what_an_operator_did(parent, child):
    paused(child)
    pause_all_for_shutdown(now=database_now())
    assert [row.name for row in resume_after_shutdown(now=database_now())] == ["parent"]
    assert status_of(child) == S.PAUSED


def test_a_shutdown_takes_its_plan_to_restart_along_and_its_failed_ones_down(parent):
    late = failed(name="late", code=FailureCode.TIMED_OUT)
    set_status(parent, S.OFFLINE, restart_due_at=database_now() + timedelta(seconds=10))
    due = pause_all_for_shutdown(now=database_now())
    assert {launch.pk for launch in due} == {parent.launch_id, late.launch_id}
    assert Workspace.objects.get(pk=parent.pk).restart_due_at is None


def test_a_shutdown_leaves_one_whose_process_is_gone_offline_with_its_planned_restart(parent):
    now = database_now()
    died = Observation(state=BackendState.EXITED, exit_code=1)
    mark_dead_offline(workspace_id=parent.pk, launch_id=parent.launch_id, observation=died, now=now)
    confirm_stopped(launch_id=parent.launch_id, now=now)
    assert pause_all_for_shutdown(now=now) == []
    assert status_of(parent) == S.OFFLINE
    assert [row.pk for row in restart_crashed(now=now + timedelta(minutes=1))] == [parent.pk]


def test_what_a_shutdown_paused_stays_so_under_an_operators_pause(parent):
    asleep = hibernated(name="asleep")
    below = booting(name="below", parent_id=asleep.pk)
    pause_all_for_shutdown(now=database_now())
    assert paused(asleep) == ["asleep"]
    assert [row.name for row in resume_after_shutdown(now=database_now())] == ["parent"]
    assert status_of(below) == S.PAUSED
