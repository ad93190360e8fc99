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


def hibernating(workspace, *, forced=False, now=None):
    return hibernate(workspace_id=workspace.pk, forced=forced, now=now or database_now())


def fresh(workspace):
    return Workspace.objects.get(pk=workspace.pk)


def launch_of(workspace):
    return Launch.objects.get(pk=workspace.launch_id)


def says(workspace, **fields):
    Heartbeat.objects.filter(pk=workspace.pk).update(**fields)


# --- The claim -----------------------------------------------------------------------------------


def test_a_claim_stores_its_deadline_and_the_intent_to_stop(idle):
    now = database_now()
    claimed = hibernating(idle, now=now)
    assert (claimed.status, fresh(idle).deadline_at) == (S.HIBERNATING, now + timedelta(minutes=5))
    launch = launch_of(idle)
    assert (launch.teardown_at, launch.teardown_reason) == (now, TeardownReason.HIBERNATED)
    assert Event.objects.filter(event_type=EventType.WORKSPACE_HIBERNATING).get().payload["name"] == "idle"


def test_a_busy_one_is_refused_unless_forced(idle):
    says(idle, active_tasks=2)
    with pytest.raises(TransitionRefused, match="2 active tasks"):
        hibernating(idle)
    assert hibernating(idle, forced=True).status == S.HIBERNATING
    assert launch_of(idle).teardown_is_forced


def test_an_external_one_is_refused_even_by_force():
    with pytest.raises(TransitionRefused, match="only those who run it can stop it"):
        hibernating(external(url="http://localhost:8080"), forced=True)


@pytest.mark.parametrize("status", sorted(set(S) - HIBERNATE.sources))
def test_a_claim_is_refused_from_every_other_status(idle, status):
    set_status(idle, status)
    with pytest.raises(TransitionRefused):
        hibernating(idle, forced=True)


# --- Confirmed -----------------------------------------------------------------------------------


def test_it_is_hibernated_once_its_backend_confirmed_the_stop(idle, fake):
    running_on(fake, idle)
    hibernating(idle)
    (due,) = claim_due_teardowns(now=database_now())
    assert tear_down(launch_id=due, now=database_now())
    asleep = fresh(idle)
    assert (asleep.status, asleep.deadline_at, asleep.url) == (S.HIBERNATED, None, "")
    assert Event.objects.filter(workspace_id=idle.pk).latest("id").event_type == EventType.WORKSPACE_HIBERNATED


def test_it_is_not_hibernated_while_its_backend_cannot_be_asked(idle, fake):
    running_on(fake, idle)
    hibernating(idle)
    fake.unreachable = True
    assert not tear_down(launch_id=idle.launch_id, now=database_now())
    assert (fresh(idle).status, launch_of(idle).teardown_attempts) == (S.HIBERNATING, 1)
    assert "can't be reached" in launch_of(idle).teardown_error


def test_an_operators_word_confirms_it_too(idle):
    hibernating(idle)
    assert confirm_stopped(launch_id=idle.launch_id, now=database_now())
    assert fresh(idle).status == S.HIBERNATED


def test_a_stop_that_comes_true_after_a_restart_hibernates_nobody(idle, fake):
    running_on(fake, idle)
    hibernating(idle)
    restart(workspace_id=idle.pk, now=database_now())
    assert tear_down(launch_id=idle.launch_id, now=database_now())
    assert fresh(idle).status == S.PROVISIONING


# --- Undone --------------------------------------------------------------------------------------


def test_a_task_that_begins_before_the_stop_is_sent_takes_it_back(idle, fake):
    running_on(fake, idle)
    agent = AgentCaller(idle)
    hibernating(idle)
    assert agent.beat(active_tasks=1).status_code == 200
    assert (fresh(idle).status, launch_of(idle).teardown_at) == (S.ONLINE, None)
    assert Event.objects.filter(workspace_id=idle.pk).latest("id").payload["recovered_from"] == "hibernating"
    assert not tear_down(launch_id=idle.launch_id, now=database_now())
    assert ("stop", running_on(fake, idle)) not in fake.calls


def test_a_beat_that_was_late_for_that_is_heeded_before_the_stop_is_sent(idle, fake):
    key = running_on(fake, idle)
    hibernating(idle)
    # As a beat leaves it whose token was looked up before the claim.
    says(idle, active_tasks=1)
    assert not tear_down(launch_id=idle.launch_id, now=database_now())
    assert (fresh(idle).status, ("stop", key) in fake.calls) == (S.ONLINE, False)


def test_a_task_does_not_take_a_forced_one_back(idle, fake):
    running_on(fake, idle)
    agent = AgentCaller(idle)
    hibernating(idle, forced=True)
    agent.beat(active_tasks=1)
    assert tear_down(launch_id=idle.launch_id, now=database_now())
    assert fresh(idle).status == S.HIBERNATED


def test_a_task_after_the_stop_was_sent_comes_too_late(idle, fake):
    running_on(fake, idle)
    agent = AgentCaller(idle)
    hibernating(idle)
    fake.unreachable = True
    tear_down(launch_id=idle.launch_id, now=database_now())
    agent.beat(active_tasks=1)
    assert fresh(idle).status == S.HIBERNATING


@pytest.mark.parametrize(
    ("seen_running", "silent_seconds", "status"),
    [(True, 10, S.ONLINE), (True, 300, S.OFFLINE), (False, 10, S.OFFLINE)],
)
def test_at_its_deadline_what_was_seen_last_decides(idle, fake, seen_running, silent_seconds, status):
    key = running_on(fake, idle)
    fake.immortal.add(key)
    hibernating(idle)
    tear_down(launch_id=idle.launch_id, now=database_now())
    if not seen_running:
        fake.unreachable = True
    watch_online(clock=database_now)
    late = database_now() + timedelta(minutes=6)
    says(idle, last_heartbeat_at=late - timedelta(seconds=silent_seconds))
    assert undo_overdue(now=database_now(), limit=LIMIT) == []
    assert [row.pk for row in undo_overdue(now=late, limit=LIMIT)] == [idle.pk]
    assert (fresh(idle).status, launch_of(idle).teardown_at) == (status, None)


# --- By itself -----------------------------------------------------------------------------------


@pytest.fixture
def patient():
    """Hibernates after a quarter of an hour, and has been online for a moment."""
    return online(name="patient", hibernation_idle_minutes=15)


def after(minutes, workspace):
    """The time so long after it was online; its beats arrived all the while."""
    now = Heartbeat.objects.get(pk=workspace.pk).idle_since + timedelta(minutes=minutes)
    says(workspace, last_heartbeat_at=now)
    return now


def test_it_happens_after_so_many_minutes_of_idleness_and_not_before(patient):
    assert hibernate_idle(now=after(14.9, patient), limit=LIMIT) == []
    assert [row.pk for row in hibernate_idle(now=after(15, patient), limit=LIMIT)] == [patient.pk]
    assert fresh(patient).status == S.HIBERNATING


def test_it_never_happens_to_a_busy_one(patient):
    AgentCaller(patient).beat(active_tasks=1)
    assert Heartbeat.objects.get(pk=patient.pk).idle_since is None
    far = database_now() + timedelta(days=1)
    says(patient, last_heartbeat_at=far)
    assert hibernate_idle(now=far, limit=LIMIT) == []


def test_it_never_happens_to_one_that_became_busy_since_the_look(patient, monkeypatch):
    now = after(20, patient)
    AgentCaller(patient).beat(active_tasks=1)
    monkeypatch.setattr("workspaces.services.stopping.hibernate.idle_ids", lambda **_: [patient.pk])
    assert hibernate_idle(now=now, limit=LIMIT) == []
    assert fresh(patient).status == S.ONLINE


def test_it_never_happens_to_a_silent_one(patient):
    now = after(20, patient)
    says(patient, last_heartbeat_at=now - timedelta(seconds=181))
    assert hibernate_idle(now=now, limit=LIMIT) == []


@pytest.mark.parametrize("minutes", [None, 0])
def test_it_never_happens_where_nobody_asked_for_it(minutes):
    workspace = online(hibernation_idle_minutes=minutes)
    assert hibernate_idle(now=after(10_000, workspace), limit=LIMIT) == []


def test_it_never_happens_to_an_external_one():
    mine = external(url="http://localhost:8080", hibernation_idle_minutes=1)
    far = database_now() + timedelta(days=1)
    says(mine, idle_since=far - timedelta(hours=2), last_heartbeat_at=far)
    assert hibernate_idle(now=far, limit=LIMIT) == []


def test_idleness_counts_from_the_first_idle_beat_after_a_task(patient):
    agent = AgentCaller(patient)
    agent.beat(active_tasks=1)
    agent.beat(uptime_seconds=30)
    assert Heartbeat.objects.get(pk=patient.pk).idle_since is None
    agent.beat(active_tasks=0)
    since = Heartbeat.objects.get(pk=patient.pk).idle_since
    assert since is not None
    agent.beat(active_tasks=0)
    agent.beat(uptime_seconds=60)
    assert Heartbeat.objects.get(pk=patient.pk).idle_since == since


def test_what_wakes_is_not_idle_since_before_its_sleep():
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
