"""The launch worker and its fork server, and SIGKILL of it in each phase: two launches never run at once."""

import threading
from contextlib import contextmanager, suppress
from datetime import timedelta

import psutil
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
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.host_processes import is_alive
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.launching.restart import restart

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]

# Starts a child in another session that ignores SIGTERM, so that only the backend's SIGKILL ends it.
_CHILD = "setsid sh -c 'trap \\\"\\\" TERM; touch deaf; while :; do sleep 1; done' >/dev/null 2>&1 &"
STUBBORN = f'runtime_config: {{boot: [{{step: child, run: "{_CHILD} until [ -e deaf ]; do sleep 0.1; done"}}]}}\n'
# A stop lasts until the test has killed the worker that waits for it.
LONG_STOP, SHORT_STOP = {"AGENT_STOP_SECONDS": "600"}, {"AGENT_STOP_SECONDS": "1"}


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
    stack.start("web", "sweep", "beat", "launch", "stop")
    stack.kill("launch")
    workspace = create_workspace(config_for("echo"))
    # The broker loses its message too.
    current_app.control.purge()
    with never_two_launches_at_once(workspace):
        stack.start("launch")
        assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE


def test_another_worker_repeats_a_launch_whose_worker_was_killed(stack):
    stack.configure("launch", "stop", **LONG_STOP)
    stack.start("web", "sweep", "beat", "launch", "stop")
    workspace = create_workspace(config_for("echo", STUBBORN))
    assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE
    with never_two_launches_at_once(workspace):
        again = restart(workspace_id=workspace.pk, now=database_now()).workspace
        tasks.enqueue_launches(again.backend, now=database_now())
        wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
        stack.kill("launch")
        assert in_phase(workspace, Phase.LAUNCHING)
        stack.configure("launch", **SHORT_STOP)
        stack.start("launch")
        # After a minute, a launch without progress counts as lost with its worker.
        Workspace.objects.filter(pk=workspace.pk).update(progress_at=database_now() - timedelta(minutes=1))
        again = wait_for_result(workspace)
    assert again.status == WorkspaceStatus.ONLINE
    assert list(processes_of(workspace)) == [str(again.launch_id)]


def test_a_launch_whose_worker_was_killed_fails_at_its_deadline_without_another_worker(stack):
    stack.configure("launch", "stop", **LONG_STOP)
    stack.start("web", "sweep", "beat", "launch", "stop")
    workspace = create_workspace(config_for("echo", STUBBORN))
    assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE
    again = restart(workspace_id=workspace.pk, now=database_now()).workspace
    tasks.enqueue_launches(again.backend, now=database_now())
    wait_until(lambda: in_phase(workspace, Phase.LAUNCHING))
    stack.kill("launch")
    Workspace.objects.filter(pk=workspace.pk).update(deadline_at=database_now())
    failed = wait_for_result(workspace)
    assert (failed.status, failed.failure_code) == (WorkspaceStatus.FAILED, FailureCode.TIMED_OUT)
    assert "whether anything started is not known" in failed.failure_message


def test_a_boot_continues_without_its_launch_worker(stack, tmp_path):
    stack.start("web", "sweep", "beat", "launch", "stop")
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
    stack.start("web", "sweep", "beat", "launch", "stop")
    workspace = create_workspace(config_for("echo", "runtime_config: {boot: [{step: wait, run: sleep 600}]}\n"))
    wait_until(lambda: Workspace.objects.filter(pk=workspace.pk, progress_step="wait").exists())
    assert in_phase(workspace, Phase.BOOTING)
    stack.kill("launch")
    kill_agent_of(workspace)
    failed = wait_for_result(workspace)
    assert (failed.failure_code, failed.failure_source) == (FailureCode.CRASHED, "bootstrap_watcher")
    assert "signal 9" in failed.failure_message
    stack.start("launch")
    wait_until(lambda: not processes_of(workspace))
    assert status_of(workspace) == WorkspaceStatus.FAILED


def fork_servers_of(child):
    found = []
    for each in psutil.Process(child.process.pid).children(recursive=True):
        # A process has no command line in its very first moment, and none after its last one.
        with suppress(psutil.Error):
            found += [each] if "multiprocessing.forkserver" in " ".join(each.cmdline()) else []
    return found


def use_pool(stack, pool):
    command = stack.children["launch"].command
    command[command.index("--pool") + 1] = pool


def test_a_worker_with_threads_starts_its_fork_server_before_its_first_launch(stack):
    stack.start("launch")
    worker = stack.children["launch"]
    [server] = wait_until(lambda: fork_servers_of(worker))
    assert "SECRET_KEY" not in server.environ()
    assert not Launch.objects.exists()
    stack.kill("launch")
    wait_until(lambda: not is_alive(server))


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_launches_outlive_their_worker(stack, pool):
    use_pool(stack, pool)
    stack.start("web", "launch")
    workspaces = [create_workspace(config_for("echo")) for _ in range(2)]
    for workspace in workspaces:
        assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE
    stack.kill("launch")
    for workspace in workspaces:
        key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
        assert get_provisioner("process").inspect(key).state == "running"


def test_a_launch_worker_with_a_process_pool_says_which_pool_it_needs(stack):
    use_pool(stack, "prefork")
    stack.start("launch")
    wait_until(lambda: stack.children["launch"].has_exited)
    # Its last lines may still be unread.
    wait_until(lambda: "needs `--pool threads`" in stack.output, describe=lambda: stack.output)
