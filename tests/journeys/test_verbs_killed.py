"""SIGKILL of the worker in the middle of each verb: the workspace settles by itself, and nothing of it is left over."""

from datetime import timedelta

import pytest
from django.conf import settings

from postgres.clock import database_now
from tests.journeys.stack import kill_agent_of, processes_of, settled, status_of
from tests.journeys.test_main_job import made
from tests.journeys.test_verbs import becomes, came_online, is_gone, was_offline
from tests.journeys.test_worker_killed import boots_while, in_phase, never_two_launches_at_once
from tests.waiting import wait_until
from tests.workspaces.factories import config_for
from workspaces import operations
from workspaces.lifecycle.transitions import FailureCode, Phase, WorkspaceStatus
from workspaces.models import Launch, Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]
S = WorkspaceStatus
# Leaves a child in a session of its own that no TERM ends: only the backend's stop, seconds later, does.
_CHILD = "setsid sh -c 'trap \\\"\\\" TERM; while :; do sleep 1; done' >/dev/null 2>&1 &"
STUBBORN = f'runtime_config: {{boot: [{{step: child, run: "{_CHILD}"}}]}}\n'


@pytest.fixture
def running(stack):
    stack.start("web", "sweep", "beat", "launch")
    return stack


def kill_in_the_middle_of_the_stop(stack, launch_id):
    """Kill the worker that is stopping a launch, before it saw it gone; the launch is as it was then."""
    stopping = Launch.objects.filter(pk=launch_id, teardown_attempts__gt=0, torn_down_at__isnull=True)
    wait_until(stopping.exists)
    stack.kill("launch")
    assert stopping.exists()


def another_worker_comes(stack):
    """Start another, at a time when the pause after the first attempt is over."""
    Launch.objects.filter(torn_down_at__isnull=True).update(dispatched_at=database_now() - timedelta(minutes=1))
    stack.start("launch")


def is_torn_down(workspace):
    return Launch.objects.filter(pk=workspace.launch_id, torn_down_at__isnull=False).exists()


def test_in_the_middle_of_a_pause(running):
    workspace = came_online(running, STUBBORN)
    operations.pause(workspace.pk)
    kill_in_the_middle_of_the_stop(running, workspace.launch_id)
    assert not is_gone(workspace)
    another_worker_comes(running)
    wait_until(lambda: is_torn_down(workspace))
    assert (status_of(workspace), is_gone(workspace)) == (S.PAUSED, True)


def test_in_the_middle_of_a_hibernation(running):
    workspace = came_online(running, STUBBORN)
    operations.hibernate(workspace.pk)
    kill_in_the_middle_of_the_stop(running, workspace.launch_id)
    assert status_of(workspace) == S.HIBERNATING
    another_worker_comes(running)
    becomes(workspace, S.HIBERNATED)
    assert is_gone(workspace)


def test_in_the_middle_of_a_hibernation_that_no_other_worker_confirms(running):
    workspace = came_online(running, STUBBORN)
    operations.hibernate(workspace.pk)
    kill_in_the_middle_of_the_stop(running, workspace.launch_id)
    # The agent, asked once to end, is gone: at the deadline the watcher's evidence says so.
    wait_until(lambda: Launch.objects.get(pk=workspace.launch_id).evidence.get("state") == "exited")
    Workspace.objects.filter(pk=workspace.pk).update(deadline_at=database_now())
    becomes(workspace, S.OFFLINE)
    # What it left running is found and stopped as soon as there is a worker.
    running.start("launch")
    wait_until(lambda: is_gone(workspace))
    assert status_of(workspace) == S.OFFLINE


def test_in_the_middle_of_a_removal(running):
    workspace = came_online(running, STUBBORN)
    operations.remove(workspace.pk, confirm=True)
    kill_in_the_middle_of_the_stop(running, workspace.launch_id)
    folder = settings.DATA_DIR / "workspaces" / str(workspace.pk)
    assert folder.exists()
    another_worker_comes(running)
    wait_until(lambda: is_gone(workspace) and not folder.exists())
    assert status_of(workspace) == S.REMOVED


def test_in_the_middle_of_a_cancelled_launch(running):
    workspace = made(config_for("echo", STUBBORN.replace("}]", "}, {step: wait, run: sleep 600}]")))
    wait_until(lambda: Workspace.objects.filter(pk=workspace.pk, progress_step="wait").exists())
    operations.cancel(workspace.pk, by="a test")
    kill_in_the_middle_of_the_stop(running, workspace.launch_id)
    another_worker_comes(running)
    wait_until(lambda: is_torn_down(workspace))
    assert (status_of(workspace), is_gone(workspace)) == (S.FAILED, True)
    assert Workspace.objects.get(pk=workspace.pk).failure_code == FailureCode.CANCELLED


@pytest.mark.parametrize("verb", ["restart", "resume"])
def test_in_the_middle_of_a_new_launch_that_waits_for_its_predecessor(running, verb):
    workspace = came_online(running, STUBBORN)
    if verb == "resume":
        operations.pause(workspace.pk)
    getattr(operations, verb)(workspace.pk)
    with never_two_launches_at_once(workspace):
        wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
        running.kill("launch")
        assert in_phase(workspace, Phase.LAUNCHING)
        # A minute later, the start counts as lost with its worker.
        Workspace.objects.filter(pk=workspace.pk).update(progress_at=database_now() - timedelta(minutes=1))
        another_worker_comes(running)
        again = settled(workspace)
    assert again.status == S.ONLINE
    assert list(processes_of(workspace)) == [str(again.launch_id)]


def test_in_the_middle_of_a_wake(running, tmp_path):
    held = tmp_path / "held"
    workspace = came_online(running, boots_while(held))
    operations.hibernate(workspace.pk)
    becomes(workspace, S.HIBERNATED)
    held.touch()
    operations.wake(workspace.pk)
    with never_two_launches_at_once(workspace):
        wait_until(lambda: in_phase(workspace, Phase.BOOTING))
        running.kill("launch")
        held.unlink()
        again = settled(workspace)
    assert again.status == S.ONLINE
    assert list(processes_of(workspace)) == [str(again.launch_id)]


def test_in_the_middle_of_a_restart_by_policy(running, tmp_path):
    held = tmp_path / "held"
    workspace = came_online(running, boots_while(held))
    held.touch()
    kill_agent_of(workspace)
    was_offline(workspace)
    # The plan stands on the row: it outlives whoever made it, and whoever was to carry it out.
    running.kill("sweep")
    Workspace.objects.filter(pk=workspace.pk).update(restart_due_at=database_now())
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
