"""The reaper stops launches that run although no workspace needs them, and leaves all others alone."""

import uuid
from datetime import timedelta

import pytest

from postgres.clock import database_now
from tests.workspaces.factories import booting, failed, hibernated, online, queued, running_on
from tests.workspaces.unguarded import set_status
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode, TeardownReason, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec
from workspaces.services.launching.launch import launch
from workspaces.services.launching.restart import restart
from workspaces.services.stopping import reaper
from workspaces.services.stopping.hibernate import hibernate
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.reaper import reap, stop_unknown
from workspaces.services.stopping.remove import delete_files, remove
from workspaces.services.stopping.teardown import claim_due_teardowns, confirm_stopped, tear_down

pytestmark = pytest.mark.django_db
S = WorkspaceStatus


def reap_launches():
    return reap(now=database_now()).scheduled


def stop_all_due():
    for launch_id in claim_due_teardowns(now=database_now()):
        tear_down(launch_id=launch_id, now=database_now())


@pytest.mark.parametrize("status", [S.REMOVED, S.PAUSED, S.HIBERNATED, S.FAILED])
def test_a_launch_that_runs_for_a_stopped_workspace_is_stopped(fake, status):
    workspace = online()
    key = running_on(fake, workspace)
    set_status(workspace, status)
    assert reap_launches() == [workspace.launch_id]
    assert Launch.objects.get(pk=workspace.launch_id).teardown_reason == TeardownReason.REAPED
    stop_all_due()
    assert fake.inspect(key).state in {BackendState.EXITED, BackendState.MISSING}
    assert ("stop", key) in fake.calls
    assert reap_launches() == []


@pytest.mark.parametrize("status", [S.PROVISIONING, S.ONLINE, S.DEGRADED, S.OFFLINE, S.HIBERNATING])
def test_a_launch_that_its_workspace_needs_is_left_alone(fake, status):
    workspace = online()
    running_on(fake, workspace)
    set_status(workspace, status)
    assert reap_launches() == []
    assert Launch.objects.get(pk=workspace.launch_id).teardown_at is None


def test_a_superseded_launch_without_a_scheduled_teardown_is_stopped(fake):
    workspace = online()
    running_on(fake, workspace)
    restart(workspace_id=workspace.pk, now=database_now())
    assert reap_launches() == []
    Launch.objects.filter(pk=workspace.launch_id).update(teardown_at=None, teardown_reason="")
    assert reap_launches() == [workspace.launch_id]


def test_a_launch_that_still_runs_after_it_was_declared_gone_is_stopped(fake):
    workspace = online()
    key = running_on(fake, workspace)
    pause(workspace_id=workspace.pk, now=database_now())
    confirm_stopped(launch_id=workspace.launch_id, now=database_now())
    assert reap_launches() == [workspace.launch_id]
    stop_all_due()
    assert fake.inspect(key).state is BackendState.EXITED


@pytest.mark.parametrize("confirmed", ["before the rows are read", "before the lock"])
def test_a_launch_that_is_confirmed_gone_after_the_listing_stays_confirmed(fake, monkeypatch, confirmed):
    workspace = online()
    running_on(fake, workspace)
    first_launch = workspace.launch_id
    restart(workspace_id=workspace.pk, now=database_now())
    list_running, lock = fake.running_launches, reaper.lock_workspace

    def stop():
        assert tear_down(launch_id=first_launch, now=database_now())
        monkeypatch.undo()

    def list_then_stop():
        found = list_running()
        stop()
        return found

    def stop_then_lock(workspace_id):
        stop()
        return lock(workspace_id)

    if confirmed == "before the lock":
        monkeypatch.setattr(reaper, "lock_workspace", stop_then_lock)
    else:
        monkeypatch.setattr(fake, "running_launches", list_then_stop)
    assert reap_launches() == []
    assert Launch.objects.get(pk=first_launch).torn_down_at is not None


def test_a_failed_launch_is_stopped_after_its_grace_period_and_not_before(fake):
    late = failed(code=FailureCode.TIMED_OUT)
    key = running_on(fake, late)
    assert reap_launches() == []
    Launch.objects.filter(pk=late.launch_id).update(teardown_at=database_now() - timedelta(seconds=1))
    stop_all_due()
    assert fake.inspect(key).state is BackendState.EXITED


def test_a_launch_without_a_row_is_reported_and_stopped(fake):
    key = LaunchKey(workspace_id=uuid.uuid4(), launch_id=uuid.uuid4())
    fake.start(LaunchSpec(key=key, environment={}, config={}, token="t", start_timeout_seconds=1))
    assert reap(now=database_now()).unknown == [("process", key)]
    assert stop_unknown("process", key)
    assert fake.inspect(key).state is BackendState.EXITED
    assert reap(now=database_now()).is_empty


def test_a_launch_without_a_row_that_cannot_be_stopped_is_reported_each_time(fake):
    key = LaunchKey(workspace_id=uuid.uuid4(), launch_id=uuid.uuid4())
    fake.start(LaunchSpec(key=key, environment={}, config={}, token="t", start_timeout_seconds=1))
    fake.immortal.add(key)
    for _ in range(2):
        assert reap(now=database_now()).unknown == [("process", key)]
        assert not stop_unknown("process", key)


def test_a_launch_with_a_row_is_not_stopped_as_unknown(fake):
    key = running_on(fake, online())
    assert not stop_unknown("process", key)
    assert fake.inspect(key).state is BackendState.RUNNING


def test_no_teardown_is_scheduled_while_the_backend_is_unreachable(fake):
    workspace = online()
    running_on(fake, workspace)
    set_status(workspace, S.PAUSED)
    fake.unreachable = True
    assert reap(now=database_now()).unreachable == ["process"]
    assert Launch.objects.get(pk=workspace.launch_id).teardown_at is None


@pytest.mark.django_db(transaction=True)
def test_the_task_enqueues_a_teardown_for_each_launch_it_found(fake, monkeypatch):
    sent = []
    monkeypatch.setattr("celery.app.task.Task.apply_async", lambda self, kwargs: sent.append(kwargs))
    workspace = online()
    running_on(fake, workspace)
    set_status(workspace, S.PAUSED)
    tasks.reap.apply()
    assert sent == [{"launch_id": str(workspace.launch_id)}]


# --- Removed workspaces --------------------------------------------------------------------------


def was_destroyed(fake, workspace):
    return workspace.pk in {key.workspace_id for call, key in fake.calls if call == "destroy"}


def test_the_files_of_a_removed_workspace_are_deleted_once_its_process_is_gone(fake):
    workspace = online()
    running_on(fake, workspace)
    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
    assert delete_files(now=database_now()) == ([], [])
    stop_all_due()
    assert was_destroyed(fake, workspace)
    assert Workspace.objects.get(pk=workspace.pk).files_deleted_at is not None


def test_the_files_of_a_workspace_removed_while_hibernated_are_deleted(fake):
    asleep = hibernated()
    remove(workspace_id=asleep.pk, confirmed=True, now=database_now())
    assert delete_files(now=database_now()) == ([asleep.pk], [])
    assert delete_files(now=database_now()) == ([], [])


def test_deleting_files_is_repeated_after_an_error(fake):
    workspace = hibernated()
    running_on(fake, workspace)
    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
    fake.unreachable = True
    assert delete_files(now=database_now()) == ([], [workspace.pk])
    fake.unreachable = False
    fake.simulate_exit(running_on(fake, workspace), exit_code=0)
    assert delete_files(now=database_now()) == ([workspace.pk], [])


@pytest.mark.parametrize("ends_at_once", [False, True])
def test_files_that_a_late_start_creates_after_the_deletion_are_deleted_too(fake, ends_at_once):
    workspace = queued()
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)

    def removed_meanwhile(call, _):
        if call == "start" and not Workspace.objects.filter(status=S.REMOVED).exists():
            remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
            stop_all_due()
            assert Workspace.objects.get().files_deleted_at is not None

    fake.before_call = removed_meanwhile
    fake.after_call = lambda call, key: (
        fake.simulate_exit(key, exit_code=1) if call == "start" and ends_at_once else None
    )
    launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    assert fake.inspect(key).state is not BackendState.MISSING
    stop_all_due()
    delete_files(now=database_now())
    assert fake.inspect(key).state is BackendState.MISSING
    assert Workspace.objects.get().files_deleted_at is not None


def test_a_removal_includes_all_descendants_even_hibernating_ones(fake):
    parent = online(name="parent")
    child = online(name="child", parent_id=parent.pk)
    grandchild = booting(name="grandchild", parent_id=child.pk)
    hibernate(workspace_id=child.pk, forced=False, now=database_now())
    cascade = remove(workspace_id=parent.pk, confirmed=True, now=database_now())
    assert [row.pk for row in cascade.changed] == [parent.pk, child.pk, grandchild.pk]
    reasons = set(Launch.objects.values_list("teardown_reason", flat=True))
    assert reasons == {TeardownReason.REMOVED}


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 10), (1, 20), (5, 320), (6, 600), (99, 600)])
def test_a_teardown_is_claimed_again_after_a_delay_that_doubles(attempts, seconds):
    restarted = restart(workspace_id=online().pk, now=database_now()).workspace
    (stopping,) = Launch.objects.filter(workspace=restarted).exclude(pk=restarted.launch_id)
    at = stopping.teardown_at + timedelta(seconds=1)
    Launch.objects.filter(pk=stopping.pk).update(dispatched_at=at, teardown_attempts=attempts)

    assert claim_due_teardowns(now=at + timedelta(seconds=seconds - 1)) == []
    # A teardown that waits for its delay does not keep others from being claimed.
    other = restart(workspace_id=online().pk, now=at).workspace
    ready = claim_due_teardowns(now=at + timedelta(seconds=1), limit=1)
    assert [Launch.objects.get(pk=each).workspace_id for each in ready] == [other.pk]
    assert claim_due_teardowns(now=at + timedelta(seconds=seconds), limit=1) == [stopping.pk]
