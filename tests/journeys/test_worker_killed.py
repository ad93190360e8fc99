"""SIGKILL of the launch worker in each phase: the launch settles, and two launches never run at once."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from celery import current_app
from django.db import connection

from postgres.clock import database_now
from tests.journeys.stack import kill_agent_of, processes_of, status_of, wait_for_result
from tests.journeys.test_main_job import create_workspace
from tests.waiting import wait_until
from tests.workspaces.factories import config_for
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode, Phase, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.launching.restart import restart

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]

STUBBORN = "runtime_config: {command: [sh, -c, \"trap '' TERM; while true; do sleep 1; done\"]}\n"


def boot_while_exists(held):
    """Return a config whose boot lasts as long as this file exists."""
    return f"runtime_config: {{boot: [{{step: wait, run: 'while [ -e {held} ]; do sleep 0.1; done'}}]}}\n"


@contextmanager
def never_two_launches_at_once(workspace):
    """Watch the workspace's processes during the block. Fail if two launches ever ran together."""
    seen = []
    over = threading.Event()

    def watch():
        try:
            while not over.wait(0.05):
                if len(found := processes_of(workspace)) > 1:
                    seen.append(found)
        finally:
            # The connection of this thread.
            connection.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert not seen


def in_phase(workspace, phase):
    return Workspace.objects.filter(pk=workspace.pk, phase=phase).exists()


def test_a_queued_launch_survives_its_worker(stack):
    stack.start("web", "sweep", "beat", "launch")
    stack.kill("launch")
    workspace = create_workspace(config_for("echo"))
    # The broker loses its message too.
    current_app.control.purge()
    with never_two_launches_at_once(workspace):
        stack.start("launch")
        assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE


def test_another_worker_repeats_a_launch_whose_worker_was_killed(stack):
    stack.start("web", "sweep", "beat", "launch")
    workspace = create_workspace(config_for("echo", STUBBORN))
    assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE
    with never_two_launches_at_once(workspace):
        again = restart(workspace_id=workspace.pk, now=database_now()).workspace
        tasks.enqueue_launch(workspace_id=again.pk, launch_id=again.launch_id)
        wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
        stack.kill("launch")
        assert in_phase(workspace, Phase.LAUNCHING)
        stack.start("launch")
        # After a minute, a launch without progress counts as lost with its worker.
        Workspace.objects.filter(pk=workspace.pk).update(progress_at=database_now() - timedelta(minutes=1))
        again = wait_for_result(workspace)
    assert again.status == WorkspaceStatus.ONLINE
    assert list(processes_of(workspace)) == [str(again.launch_id)]


def test_a_launch_whose_worker_was_killed_fails_at_its_deadline_without_another_worker(stack):
    stack.start("web", "sweep", "beat", "launch")
    workspace = create_workspace(config_for("echo", STUBBORN))
    assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE
    again = restart(workspace_id=workspace.pk, now=database_now()).workspace
    tasks.enqueue_launch(workspace_id=again.pk, launch_id=again.launch_id)
    wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
    stack.kill("launch")
    Workspace.objects.filter(pk=workspace.pk).update(deadline_at=database_now())
    failed = wait_for_result(workspace)
    assert (failed.status, failed.failure_code) == (WorkspaceStatus.FAILED, FailureCode.TIMED_OUT)
    assert "whether anything started is not known" in failed.failure_message


def test_a_boot_continues_without_its_launch_worker(stack, tmp_path):
    stack.start("web", "sweep", "beat", "launch")
    held = tmp_path / "held"
    held.touch()
    workspace = create_workspace(config_for("echo", boot_while_exists(held)))
    with never_two_launches_at_once(workspace):
        wait_until(lambda: in_phase(workspace, Phase.BOOTING))
        stack.kill("launch")
        held.unlink()
        assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE


def test_an_agent_killed_while_booting_fails_the_launch_early_without_a_launch_worker(
    stack,
):
    stack.start("web", "sweep", "beat", "launch")
    workspace = create_workspace(config_for("echo", "runtime_config: {boot: [{step: wait, run: sleep 60}]}\n"))
    wait_until(lambda: in_phase(workspace, Phase.BOOTING))
    stack.kill("launch")
    kill_agent_of(workspace)
    failed = wait_for_result(workspace)
    assert (failed.failure_code, failed.failure_source) == (FailureCode.CRASHED, "bootstrap_watcher")
    assert "signal 9" in failed.failure_message
    stack.start("launch")
    wait_until(lambda: not processes_of(workspace))
    assert status_of(workspace) == WorkspaceStatus.FAILED
