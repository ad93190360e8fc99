"""Hibernation: which workspaces hibernate, how it is confirmed or undone, and that no busy workspace is stopped."""

from datetime import timedelta

import pytest

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.workspaces.factories import external, hibernated, online, running_on
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.transitions import TeardownReason, WorkspaceStatus
from workspaces.models import Heartbeat, Launch, Workspace
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.launching.restart import restart
from workspaces.services.launching.wake import wake
from workspaces.services.stopping.hibernate import (
    HIBERNATE,
    hibernate,
    hibernate_idle,
    undo_overdue,
)
from workspaces.services.stopping.teardown import claim_due_teardowns, confirm_stopped, tear_down
from workspaces.services.watching.watch import watch_online

pytestmark = pytest.mark.django_db
S = WorkspaceStatus
LIMIT = timedelta(seconds=180)


@pytest.fixture
def idle():
    return online(name="idle")


def claim(workspace, *, forced=False, now=None):
    return hibernate(workspace_id=workspace.pk, forced=forced, now=now or database_now())


def reloaded(workspace):
    return Workspace.objects.get(pk=workspace.pk)


def launch_of(workspace):
    return Launch.objects.get(pk=workspace.launch_id)


def set_heartbeat(workspace, **fields):
    Heartbeat.objects.filter(pk=workspace.pk).update(**fields)


# --- Hibernating ---------------------------------------------------------------------------------


def test_hibernating_sets_a_deadline_and_schedules_the_teardown(idle):
    now = database_now()
    claimed = claim(idle, now=now)
    assert (claimed.status, reloaded(idle).deadline_at) == (S.HIBERNATING, now + timedelta(minutes=5))
    launch = launch_of(idle)
    assert (launch.teardown_at, launch.teardown_reason) == (now, TeardownReason.HIBERNATED)
    assert Event.objects.filter(event_type=EventType.WORKSPACE_HIBERNATING).get().payload["name"] == "idle"


def test_a_busy_workspace_hibernates_only_by_force(idle):
    set_heartbeat(idle, active_tasks=2)
    with pytest.raises(TransitionRefused, match="2 active tasks"):
        claim(idle)
    assert claim(idle, forced=True).status == S.HIBERNATING
    assert launch_of(idle).teardown_is_forced


def test_an_external_workspace_cannot_hibernate_even_by_force():
    with pytest.raises(TransitionRefused, match="only those who run it can stop it"):
        claim(external(url="http://localhost:8080"), forced=True)


@pytest.mark.parametrize("status", sorted(set(S) - HIBERNATE.sources))
def test_hibernating_is_refused_from_every_other_status(idle, status):
    set_status(idle, status)
    with pytest.raises(TransitionRefused):
        claim(idle, forced=True)


# --- Confirmed -----------------------------------------------------------------------------------


def test_a_workspace_is_hibernated_once_its_backend_confirms_the_stop(idle, fake):
    running_on(fake, idle)
    claim(idle)
    (due,) = claim_due_teardowns(now=database_now())
    assert tear_down(launch_id=due, now=database_now())
    asleep = reloaded(idle)
    assert (asleep.status, asleep.deadline_at, asleep.url) == (S.HIBERNATED, None, "")
    assert Event.objects.filter(workspace_id=idle.pk).latest("id").event_type == EventType.WORKSPACE_HIBERNATED


def test_a_workspace_stays_hibernating_while_its_backend_is_unreachable(idle, fake):
    running_on(fake, idle)
    claim(idle)
    fake.unreachable = True
    assert not tear_down(launch_id=idle.launch_id, now=database_now())
    assert (reloaded(idle).status, launch_of(idle).teardown_attempts) == (S.HIBERNATING, 1)
    assert "can't be reached" in launch_of(idle).teardown_error


def test_an_operator_can_confirm_the_stop(idle):
    claim(idle)
    assert confirm_stopped(launch_id=idle.launch_id, now=database_now())
    assert reloaded(idle).status == S.HIBERNATED


def test_a_teardown_after_a_restart_does_not_hibernate_the_workspace(idle, fake):
    running_on(fake, idle)
    claim(idle)
    restart(workspace_id=idle.pk, now=database_now())
    assert tear_down(launch_id=idle.launch_id, now=database_now())
    assert reloaded(idle).status == S.PROVISIONING


# --- Undone --------------------------------------------------------------------------------------


def test_a_task_that_begins_before_the_stop_is_sent_cancels_the_hibernation(idle, fake):
    running_on(fake, idle)
    agent = AgentCaller(idle)
    claim(idle)
    assert agent.beat(active_tasks=1).status_code == 200
    assert (reloaded(idle).status, launch_of(idle).teardown_at) == (S.ONLINE, None)
    assert Event.objects.filter(workspace_id=idle.pk).latest("id").payload["recovered_from"] == "hibernating"
    assert not tear_down(launch_id=idle.launch_id, now=database_now())
    assert ("stop", running_on(fake, idle)) not in fake.calls


def test_the_teardown_cancels_the_hibernation_if_a_task_was_reported_meanwhile(idle, fake):
    key = running_on(fake, idle)
    claim(idle)
    # As a heartbeat does whose token was looked up before the claim.
    set_heartbeat(idle, active_tasks=1)
    assert not tear_down(launch_id=idle.launch_id, now=database_now())
    assert (reloaded(idle).status, ("stop", key) in fake.calls) == (S.ONLINE, False)


def test_a_task_does_not_cancel_a_forced_hibernation(idle, fake):
    running_on(fake, idle)
    agent = AgentCaller(idle)
    claim(idle, forced=True)
    agent.beat(active_tasks=1)
    assert tear_down(launch_id=idle.launch_id, now=database_now())
    assert reloaded(idle).status == S.HIBERNATED


def test_a_task_that_begins_after_the_stop_was_sent_does_not_cancel_the_hibernation(idle, fake):
    running_on(fake, idle)
    agent = AgentCaller(idle)
    claim(idle)
    fake.unreachable = True
    tear_down(launch_id=idle.launch_id, now=database_now())
    agent.beat(active_tasks=1)
    assert reloaded(idle).status == S.HIBERNATING


@pytest.mark.parametrize(
    ("seen_running", "silent_seconds", "status"),
    [(True, 10, S.ONLINE), (True, 300, S.OFFLINE), (False, 10, S.OFFLINE)],
)
def test_the_last_observation_decides_the_status_after_an_overdue_hibernation(
    idle, fake, seen_running, silent_seconds, status
):
    key = running_on(fake, idle)
    fake.immortal.add(key)
    claim(idle)
    tear_down(launch_id=idle.launch_id, now=database_now())
    if not seen_running:
        fake.unreachable = True
    watch_online(clock=database_now)
    late = database_now() + timedelta(minutes=6)
    set_heartbeat(idle, last_heartbeat_at=late - timedelta(seconds=silent_seconds))
    assert undo_overdue(now=database_now(), limit=LIMIT) == []
    assert [row.pk for row in undo_overdue(now=late, limit=LIMIT)] == [idle.pk]
    assert (reloaded(idle).status, launch_of(idle).teardown_at) == (status, None)


def test_a_hibernation_of_a_wedged_workspace_is_undone_to_degraded(idle):
    agent = AgentCaller(idle)
    agent.beat(runtime_state="wedged")
    claim(idle)
    agent.beat(runtime_state="wedged", active_tasks=1)
    assert (reloaded(idle).status, launch_of(idle).teardown_at) == (S.DEGRADED, None)


# --- Automatic -----------------------------------------------------------------------------------


@pytest.fixture
def idle_limited():
    """A workspace that hibernates after 15 idle minutes and just came online."""
    return online(name="idle limited", hibernation_idle_minutes=15)


def after(minutes, workspace):
    """Return the time this long after the workspace became idle. Its heartbeats arrived until then."""
    now = Heartbeat.objects.get(pk=workspace.pk).idle_since + timedelta(minutes=minutes)
    set_heartbeat(workspace, last_heartbeat_at=now)
    return now


def test_an_idle_workspace_hibernates_after_its_idle_minutes_and_not_before(idle_limited):
    assert hibernate_idle(now=after(14.9, idle_limited), limit=LIMIT) == []
    assert [row.pk for row in hibernate_idle(now=after(15, idle_limited), limit=LIMIT)] == [idle_limited.pk]
    assert reloaded(idle_limited).status == S.HIBERNATING


def test_a_busy_workspace_never_hibernates_by_itself(idle_limited):
    AgentCaller(idle_limited).beat(active_tasks=1)
    assert Heartbeat.objects.get(pk=idle_limited.pk).idle_since is None
    far = database_now() + timedelta(days=1)
    set_heartbeat(idle_limited, last_heartbeat_at=far)
    assert hibernate_idle(now=far, limit=LIMIT) == []


def test_a_workspace_that_became_busy_after_it_was_selected_does_not_hibernate(idle_limited, monkeypatch):
    now = after(20, idle_limited)
    AgentCaller(idle_limited).beat(active_tasks=1)
    monkeypatch.setattr("workspaces.services.stopping.hibernate.idle_ids", lambda **_: [idle_limited.pk])
    assert hibernate_idle(now=now, limit=LIMIT) == []
    assert reloaded(idle_limited).status == S.ONLINE


def test_a_silent_workspace_never_hibernates_by_itself(idle_limited):
    now = after(20, idle_limited)
    set_heartbeat(idle_limited, last_heartbeat_at=now - timedelta(seconds=181))
    assert hibernate_idle(now=now, limit=LIMIT) == []


@pytest.mark.parametrize("minutes", [None, 0])
def test_a_workspace_without_idle_minutes_never_hibernates_by_itself(minutes):
    workspace = online(hibernation_idle_minutes=minutes)
    assert hibernate_idle(now=after(10_000, workspace), limit=LIMIT) == []


def test_an_external_workspace_never_hibernates_by_itself():
    mine = external(url="http://localhost:8080", hibernation_idle_minutes=1)
    far = database_now() + timedelta(days=1)
    set_heartbeat(mine, idle_since=far - timedelta(hours=2), last_heartbeat_at=far)
    assert hibernate_idle(now=far, limit=LIMIT) == []


def test_idle_time_counts_from_the_first_idle_heartbeat_after_a_task(idle_limited):
    agent = AgentCaller(idle_limited)
    agent.beat(active_tasks=1)
    agent.beat(uptime_seconds=30)
    assert Heartbeat.objects.get(pk=idle_limited.pk).idle_since is None
    agent.beat(active_tasks=0)
    since = Heartbeat.objects.get(pk=idle_limited.pk).idle_since
    assert since is not None
    agent.beat(active_tasks=0)
    agent.beat(uptime_seconds=60)
    assert Heartbeat.objects.get(pk=idle_limited.pk).idle_since == since


def test_idle_time_starts_again_after_a_wake():
    asleep = hibernated(hibernation_idle_minutes=15)
    wake(workspace_id=asleep.pk, now=database_now())
    assert Heartbeat.objects.get(pk=asleep.pk).idle_since is None


# --- Wake ----------------------------------------------------------------------------------------


def test_a_wake_begins_a_new_launch():
    asleep = hibernated()
    woken = wake(workspace_id=asleep.pk, now=database_now())
    assert (woken.status, woken.launch_id != asleep.launch_id) == (S.PROVISIONING, True)
    assert launch_of(asleep).torn_down_at is not None


@pytest.mark.parametrize("status", sorted(set(S) - {S.HIBERNATED}))
def test_a_wake_is_refused_from_every_other_status(idle, status):
    set_status(idle, status)
    with pytest.raises(TransitionRefused):
        wake(workspace_id=idle.pk, now=database_now())
