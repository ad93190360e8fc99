"""The launch worker starts has a fork server of its own, and its launches outlive it."""

import psutil
import pytest

from tests.journeys.stack import wait_for_result
from tests.journeys.test_main_job import create_workspace
from tests.waiting import wait_until
from tests.workspaces.factories import config_for
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Launch
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.host_processes import is_alive
from workspaces.provisioners.registry import get_provisioner

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]


def fork_servers_of(child):
    worker = psutil.Process(child.process.pid)
    return [each for each in worker.children(recursive=True) if "multiprocessing.forkserver" in each.cmdline()[-1]]


def use_pool(stack, pool):
    command = stack.children["launch"].command
    command[command.index("--pool") + 1] = pool


def test_a_worker_with_threads_starts_its_fork_server_before_its_first_launch(stack):
    stack.start("launch")
    worker = stack.children["launch"]
    wait_until(lambda: fork_servers_of(worker))
    [server] = fork_servers_of(worker)
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
    assert "needs `--pool threads`" in stack.output
