"""What happens to a workspace whose process ended while it was online: evidence and restart policy."""

from datetime import timedelta

import pytest

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.workspaces.factories import bring_online, online, running_on
from tests.workspaces.unguarded import set_status
from workspaces.access.secrets import put_secrets
from workspaces.lifecycle.transitions import (
    Phase,
    RestartPolicy,
    TeardownReason,
    Verb,
    WorkspaceStatus,
)
from workspaces.models import Heartbeat, Launch, Workspace
from workspaces.provisioners.base import BackendState, Observation
from workspaces.services.core import launch_records
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.teardown import tear_down
from workspaces.services.watching.crash_recovery import (
    MAX_RESTARTS,
    mark_dead_offline,
    restart_crashed,
    restart_delay,
)
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.watch import watch_online

pytestmark = pytest.mark.django_db
S = WorkspaceStatus


def watch(now=None):
    return watch_online(clock=lambda: now or database_now())


def crash(fake, workspace, *, exit_code=1, at=None):
    """End the process and let the watcher see it."""
    fake.simulate_exit(running_on(fake, workspace), exit_code=exit_code, log_tail="last words")
    assert watch(at) == [workspace.pk]
    return Workspace.objects.get(pk=workspace.pk)


def recover(workspace, *, at):
    """Restart the workspace by its policy and let its agent register at once."""
    assert [row.pk for row in restart_crashed(now=at)] == [workspace.pk]
    again = Workspace.objects.get(pk=workspace.pk)
    Workspace.objects.filter(pk=again.pk).update(**launch_records.phase_fields(again, Phase.BOOTING, now=at))
    return bring_online(again, now=at)


def last_event(workspace):
    return Event.objects.filter(workspace_id=workspace.pk).latest("id")


def test_a_workspace_whose_process_died_is_offline_and_its_restart_is_scheduled(fake):
    now = database_now()
    lost = crash(fake, online(), exit_code=-9, at=now)
    assert (lost.status, lost.restart_due_at, lost.url) == (S.OFFLINE, now + timedelta(seconds=10), "")
    assert "killed by signal 9" in lost.failure_message
    payload = last_event(lost).payload
    assert last_event(lost).event_type == EventType.WORKSPACE_OFFLINE
    assert (payload["exit_code"], payload["log_tail"], payload["state"]) == (-9, "last words", "exited")
    assert "attempt 1 of 3" in payload["error"]


def test_the_stored_log_is_masked(fake):
    workspace = online()
    put_secrets({"KEY": "sk-very-secret"}, workspace_id=workspace.pk)
    fake.simulate_exit(running_on(fake, workspace), exit_code=1, log_tail="KEY=sk-very-secret")
    watch()
    workspace.refresh_from_db()
    assert "sk-very-secret" not in str(last_event(workspace).payload) + workspace.failure_log_tail


def test_a_crashed_launch_is_torn_down_and_its_token_stops_working(fake):
    workspace = online()
    agent = AgentCaller(workspace)
    lost = crash(fake, workspace)
    assert Launch.objects.get(pk=lost.launch_id).teardown_reason == TeardownReason.LOST
    # A child process that outlived the agent keeps sending heartbeats.
    assert agent.beat().status_code == 200
    assert Workspace.objects.get(pk=lost.pk).status == S.OFFLINE
    tear_down(launch_id=lost.launch_id, now=database_now())
    assert agent.beat().status_code == 401


def test_a_due_restart_records_its_reason_and_attempt(fake):
    lost = crash(fake, online())
    assert restart_crashed(now=lost.restart_due_at - timedelta(seconds=1)) == []
    (again,) = restart_crashed(now=lost.restart_due_at)
    assert (again.status, again.launch_id != lost.launch_id, again.restart_attempts) == (S.PROVISIONING, True, 1)
    event = last_event(again)
    assert event.event_type == EventType.WORKSPACE_PROVISIONING
    assert event.payload["restart"]["attempt"] == 1
    assert "exited with status 1" in event.payload["restart"]["reason"]
    assert restart_crashed(now=lost.restart_due_at + timedelta(hours=1)) == []


def test_the_delay_before_a_restart_doubles():
    assert [restart_delay(attempt).seconds for attempt in (1, 2, 3)] == [10, 20, 40]


def test_after_three_restarts_there_is_no_further_one(fake):
    workspace = online()
    for _ in range(MAX_RESTARTS):
        lost = crash(fake, workspace)
        workspace = recover(lost, at=lost.restart_due_at)
    left = crash(fake, workspace)
    assert (left.status, left.restart_due_at, left.restart_attempts) == (S.OFFLINE, None, 3)
    assert "restarted 3 times already" in left.failure_message


def test_ten_minutes_online_reset_the_count_of_restarts(fake):
    now = database_now()
    workspace = recover(crash(fake, online(now=now), at=now), at=now + timedelta(seconds=10))
    soon = crash(fake, workspace, at=now + timedelta(minutes=10))
    assert soon.restart_due_at == now + timedelta(minutes=10, seconds=20)
    workspace = recover(soon, at=soon.restart_due_at)
    later = soon.restart_due_at + timedelta(minutes=10)
    recovered = crash(fake, workspace, at=later)
    assert (recovered.restart_attempts, recovered.restart_due_at) == (0, later + timedelta(seconds=10))


def test_an_operators_restart_resets_the_count_too(fake):
    lost = crash(fake, online())
    workspace = recover(lost, at=lost.restart_due_at)
    assert workspace.restart_attempts == 1
    assert restart(workspace_id=workspace.pk, now=database_now()).workspace.restart_attempts == 0


def test_a_workspace_that_its_backend_lost_is_restarted(fake):
    workspace = online()
    assert watch() == [workspace.pk]
    assert "no longer holds it" in Workspace.objects.get(pk=workspace.pk).failure_message
    assert Workspace.objects.get(pk=workspace.pk).restart_due_at is not None


def test_an_unknown_exit_status_does_not_count_as_a_clean_stop(fake):
    assert crash(fake, online(), exit_code=None).restart_due_at is not None


@pytest.mark.parametrize(
    ("policy", "exit_code", "why"),
    [(RestartPolicy.ON_FAILURE, 0, "a clean stop"), (RestartPolicy.NEVER, 1, "restart policy is `never`")],
)
def test_no_restart_is_scheduled_after_a_clean_stop_or_by_the_policy_never(fake, policy, exit_code, why):
    lost = crash(fake, online(restart_policy=policy), exit_code=exit_code)
    assert (lost.status, lost.restart_due_at) == (S.OFFLINE, None)
    assert why in lost.failure_message


def test_a_silent_workspace_that_runs_or_cannot_be_asked_is_not_restarted(fake):
    workspace = online()
    running_on(fake, workspace)
    late = database_now() + timedelta(minutes=5)
    assert len(mark_silent_offline(now=late, limit=timedelta(seconds=180))) == 1
    assert watch() == []
    fake.unreachable = True
    assert watch() == []
    assert Workspace.objects.get(pk=workspace.pk).restart_due_at is None


def test_a_process_that_died_unwatched_is_restarted_although_its_silence_was_seen_first(
    fake,
):
    workspace = online()
    mark_silent_offline(now=database_now() + timedelta(minutes=5), limit=timedelta(seconds=180))
    assert last_event(workspace).event_type == EventType.WORKSPACE_OFFLINE
    events = Event.objects.count()
    lost = crash(fake, workspace)
    assert lost.restart_due_at is not None
    # It was offline already, so there is no transition and no second event.
    assert Event.objects.count() == events
    assert watch() == []


def test_a_heartbeat_of_a_silent_workspace_brings_it_back_without_a_restart(fake):
    workspace = online()
    running_on(fake, workspace)
    mark_silent_offline(now=database_now() + timedelta(minutes=5), limit=timedelta(seconds=180))
    set_status(workspace, S.OFFLINE, restart_due_at=database_now())
    bring_online(workspace, verb=Verb.HEARTBEAT)
    assert Workspace.objects.get(pk=workspace.pk).restart_due_at is None


def test_a_pause_cancels_the_scheduled_restart(fake):
    lost = crash(fake, online())
    pause(workspace_id=lost.pk, now=database_now())
    assert restart_crashed(now=database_now() + timedelta(hours=1)) == []


@pytest.mark.django_db(transaction=True)
def test_the_watcher_writes_nothing_while_all_run(fake, django_assert_num_queries):
    for number in range(10):
        running_on(fake, online(name=f"w{number}"))
    watch()
    with django_assert_num_queries(1):
        assert watch() == []


def test_evidence_about_an_earlier_launch_changes_nothing(fake):
    workspace = online()
    dead = Observation(state=BackendState.EXITED, exit_code=1)
    earlier = workspace.launch_id
    restart(workspace_id=workspace.pk, now=database_now())
    with pytest.raises(TransitionRefused, match="says nothing about its current launch"):
        mark_dead_offline(workspace_id=workspace.pk, launch_id=earlier, observation=dead, now=database_now())
    unknown = Observation(state=BackendState.UNKNOWN)
    again = Workspace.objects.get(pk=workspace.pk)
    with pytest.raises(TransitionRefused, match="says nothing about its current launch"):
        mark_dead_offline(workspace_id=again.pk, launch_id=again.launch_id, observation=unknown, now=database_now())
    assert Heartbeat.objects.filter(pk=workspace.pk).exists()
