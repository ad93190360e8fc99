"""SIGKILL of the worker in the middle of each operation: the workspace settles, and no process is left over."""

from datetime import timedelta

import pytest
from django.conf import settings

from postgres.clock import database_now
from tests.journeys.stack import kill_agent_of, processes_of, status_of, wait_for_result
from tests.journeys.test_main_job import create_workspace
from tests.journeys.test_verbs import is_gone, launch_and_wait, wait_for_offline_event, wait_for_status
from tests.journeys.test_worker_killed import (
    LONG_STOP,
    SHORT_STOP,
    STUBBORN,
    boot_while_exists,
    in_phase,
    never_two_launches_at_once,
)
from tests.waiting import wait_until
from tests.workspaces.factories import config_for
from workspaces import operations
from workspaces.lifecycle.transitions import FailureCode, Phase, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey
from workspaces.provisioners.registry import get_provisioner

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]
S = WorkspaceStatus


@pytest.fixture
def running(stack):
    stack.configure("launch", "stop", **LONG_STOP)
    stack.start("web", "sweep", "beat", "launch", "stop")
    return stack


def kill_worker_during_teardown(stack, launch_id):
    """Kill the worker that is tearing down a launch, before it has confirmed that the launch is gone."""
    stopping = Launch.objects.filter(pk=launch_id, teardown_attempts__gt=0, torn_down_at__isnull=True)
    wait_until(stopping.exists)
    stack.kill("stop")
    assert stopping.exists()


def start_another_worker(stack, queue="stop"):
    """Start another worker, whose stops are short, and let the delay after the first attempts be over."""
    Launch.objects.filter(torn_down_at__isnull=True).update(dispatched_at=database_now() - timedelta(hours=1))
    stack.configure(queue, **SHORT_STOP)
    stack.start(queue)


def is_torn_down(workspace):
    return Launch.objects.filter(pk=workspace.launch_id, torn_down_at__isnull=False).exists()


def test_a_pause_survives_its_worker(running):
    workspace = launch_and_wait(running, STUBBORN)
    operations.pause(workspace.pk)
    kill_worker_during_teardown(running, workspace.launch_id)
    assert not is_gone(workspace)
    start_another_worker(running)
    wait_until(lambda: is_torn_down(workspace))
    assert (status_of(workspace), is_gone(workspace)) == (S.PAUSED, True)


def test_a_hibernation_survives_its_worker(running):
    workspace = launch_and_wait(running, STUBBORN)
    operations.hibernate(workspace.pk)
    kill_worker_during_teardown(running, workspace.launch_id)
    assert status_of(workspace) == S.HIBERNATING
    start_another_worker(running)
    wait_for_status(workspace, S.HIBERNATED)
    assert is_gone(workspace)


def test_a_hibernation_without_a_worker_ends_offline_at_its_deadline(running):
    workspace = launch_and_wait(running, STUBBORN)
    operations.hibernate(workspace.pk)
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    wait_until(lambda: get_provisioner("process").inspect(key).state is BackendState.EXITED)
    kill_worker_during_teardown(running, workspace.launch_id)
    # The agent ended on SIGTERM, and the watcher has seen that by the deadline.
    wait_until(lambda: Launch.objects.get(pk=workspace.launch_id).evidence.get("state") == "exited")
    Workspace.objects.filter(pk=workspace.pk).update(deadline_at=database_now())
    wait_for_status(workspace, S.OFFLINE)
    # The child that it left behind is stopped as soon as there is a worker.
    start_another_worker(running)
    wait_until(lambda: is_gone(workspace))
    assert status_of(workspace) == S.OFFLINE


def test_a_removal_survives_its_worker(running):
    workspace = launch_and_wait(running, STUBBORN)
    operations.remove(workspace.pk, confirm=True)
    kill_worker_during_teardown(running, workspace.launch_id)
    folder = settings.DATA_DIR / "workspaces" / str(workspace.pk)
    assert folder.exists()
    start_another_worker(running)
    wait_until(lambda: is_gone(workspace) and not folder.exists())
    assert status_of(workspace) == S.REMOVED


def test_a_cancelled_launch_is_torn_down_although_its_worker_was_killed(running):
    workspace = create_workspace(config_for("echo", STUBBORN.replace("}]", "}, {step: wait, run: sleep 600}]")))
    wait_until(lambda: Workspace.objects.filter(pk=workspace.pk, progress_step="wait").exists())
    operations.cancel(workspace.pk, by="a test")
    kill_worker_during_teardown(running, workspace.launch_id)
    start_another_worker(running)
    wait_until(lambda: is_torn_down(workspace))
    assert (status_of(workspace), is_gone(workspace)) == (S.FAILED, True)
    assert Workspace.objects.get(pk=workspace.pk).failure_code == FailureCode.CANCELLED


@pytest.mark.parametrize("verb", ["restart", "resume"])
def test_a_new_launch_that_waits_for_the_earlier_one_survives_its_worker(running, verb):
    workspace = launch_and_wait(running, STUBBORN)
    if verb == "resume":
        operations.pause(workspace.pk)
    getattr(operations, verb)(workspace.pk)
    with never_two_launches_at_once(workspace):
        wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
        running.kill("launch")
        assert in_phase(workspace, Phase.LAUNCHING)
        # After a minute, a launch without progress counts as lost with its worker.
        Workspace.objects.filter(pk=workspace.pk).update(progress_at=database_now() - timedelta(minutes=1))
        start_another_worker(running, "launch")
        again = wait_for_result(workspace)
    assert again.status == S.ONLINE
    assert list(processes_of(workspace)) == [str(again.launch_id)]


def test_a_wake_survives_its_worker(running, tmp_path):
    held = tmp_path / "held"
    workspace = launch_and_wait(running, boot_while_exists(held))
    operations.hibernate(workspace.pk)
    wait_for_status(workspace, S.HIBERNATED)
    held.touch()
    operations.wake(workspace.pk)
    with never_two_launches_at_once(workspace):
        wait_until(lambda: in_phase(workspace, Phase.BOOTING))
        running.kill("launch")
        held.unlink()
        again = wait_for_result(workspace)
    assert again.status == S.ONLINE
    assert list(processes_of(workspace)) == [str(again.launch_id)]


def test_an_automatic_restart_survives_its_workers(running, tmp_path):
    held = tmp_path / "held"
    workspace = launch_and_wait(running, boot_while_exists(held))
    held.touch()
    kill_agent_of(workspace)
    wait_for_offline_event(workspace)
    # The planned restart is stored on the row, so it survives the process that planned it.
    running.kill("sweep")
    # It may be done already.
    Workspace.objects.filter(pk=workspace.pk, restart_due_at__isnull=False).update(restart_due_at=database_now())
    running.start("sweep")
    with never_two_launches_at_once(workspace):
        wait_until(lambda: in_phase(workspace, Phase.BOOTING))
        running.kill("launch")
        running.kill("sweep")
        held.unlink()
        running.start("launch", "sweep")
        wait_until(lambda: status_of(workspace) == S.ONLINE)
    again = Workspace.objects.get(pk=workspace.pk)
    assert (again.restart_attempts, list(processes_of(workspace))) == (1, [str(again.launch_id)])
