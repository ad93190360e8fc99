"""SIGKILL of the launch worker, wherever the launch stands: it settles by itself, and never has two processes."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from celery import current_app
from django.db import connection

from postgres.clock import database_now
from tests.journeys.stack import kill_agent_of, processes_of, settled, status_of
from tests.journeys.test_main_job import made
from tests.waiting import wait_until
from tests.workspaces.factories import config_for
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode, Phase, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.launching.restart import restart

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]

STUBBORN = "runtime_config: {command: [sh, -c, \"trap '' TERM; while true; do sleep 1; done\"]}\n"


def boots_while(held):
    """A config whose boot goes on for as long as this file is there."""
    return f"runtime_config: {{boot: [{{step: wait, run: 'while [ -e {held} ]; do sleep 0.1; done'}}]}}\n"


@contextmanager
def never_two_launches_at_once(workspace):
    """Look at the workspace's processes all the while; fail if two launches ever ran together."""
    seen = []
    over = threading.Event()

    def look():
        try:
            while not over.wait(0.05):
                if len(found := processes_of(workspace)) > 1:
                    seen.append(found)
        finally:
            # This thread's own.
            connection.close()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield
    finally:
        over.set()
        looker.join()
    assert not seen


def in_phase(workspace, phase):
    return Workspace.objects.filter(pk=workspace.pk, phase=phase).exists()


def test_a_worker_killed_while_a_launch_is_queued_loses_nothing(stack):
    stack.start("web", "sweep", "beat", "launch")
    stack.kill("launch")
    workspace = made(config_for("echo"))
    # Its message is lost with the broker's memory, too.
    current_app.control.purge()
    with never_two_launches_at_once(workspace):
        stack.start("launch")
        assert settled(workspace).status == WorkspaceStatus.ONLINE


def test_a_worker_killed_while_launching_is_repeated_by_another(stack):
    stack.start("web", "sweep", "beat", "launch")
    workspace = made(config_for("echo", STUBBORN))
    assert settled(workspace).status == WorkspaceStatus.ONLINE
    with never_two_launches_at_once(workspace):
        again = restart(workspace_id=workspace.pk, now=database_now()).workspace
        tasks.enqueue_launch(workspace_id=again.pk, launch_id=again.launch_id)
        wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
        stack.kill("launch")
        assert in_phase(workspace, Phase.LAUNCHING)
        stack.start("launch")
        # A minute later, the start counts as lost with its worker.
        Workspace.objects.filter(pk=workspace.pk).update(progress_at=database_now() - timedelta(minutes=1))
        again = settled(workspace)
    assert again.status == WorkspaceStatus.ONLINE
    assert list(processes_of(workspace)) == [str(again.launch_id)]


def test_a_worker_killed_while_launching_is_failed_at_its_deadline_where_no_other_comes(stack):
    stack.start("web", "sweep", "beat", "launch")
    workspace = made(config_for("echo", STUBBORN))
    assert settled(workspace).status == WorkspaceStatus.ONLINE
    again = restart(workspace_id=workspace.pk, now=database_now()).workspace
    tasks.enqueue_launch(workspace_id=again.pk, launch_id=again.launch_id)
    wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
    stack.kill("launch")
    Workspace.objects.filter(pk=workspace.pk).update(deadline_at=database_now())
    failed = settled(workspace)
    assert (failed.status, failed.failure_code) == (WorkspaceStatus.FAILED, FailureCode.TIMED_OUT)
    assert "whether anything started is not known" in failed.failure_message


def test_a_worker_killed_while_booting_is_not_missed(stack, tmp_path):
    stack.start("web", "sweep", "beat", "launch")
    held = tmp_path / "held"
    held.touch()
    workspace = made(config_for("echo", boots_while(held)))
    with never_two_launches_at_once(workspace):
        wait_until(lambda: in_phase(workspace, Phase.BOOTING))
        stack.kill("launch")
        held.unlink()
        assert settled(workspace).status == WorkspaceStatus.ONLINE


def test_an_agent_killed_while_booting_is_failed_long_before_its_deadline_though_the_launch_worker_is_gone(
    stack,
):
    stack.start("web", "sweep", "beat", "launch")
    workspace = made(config_for("echo", "runtime_config: {boot: [{step: wait, run: sleep 60}]}\n"))
    wait_until(lambda: in_phase(workspace, Phase.BOOTING))
    stack.kill("launch")
    kill_agent_of(workspace)
    failed = settled(workspace)
    assert (failed.failure_code, failed.failure_source) == (FailureCode.CRASHED, "bootstrap_watcher")
    assert "signal 9" in failed.failure_message
    stack.start("launch")
    wait_until(lambda: not processes_of(workspace))
    assert status_of(workspace) == WorkspaceStatus.FAILED
