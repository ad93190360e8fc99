"""The fork server: with which environment supervisors start, and what happens when it ends or hangs."""

import fcntl
import os
import subprocess
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest

from tests.left_out import FAKETIME
from tests.waiting import wait_until
from tests.workspaces.provisioners.process.process_world import kill
from workspaces.provisioners.base import BackendState, ProvisionerError
from workspaces.provisioners.host_processes import is_alive
from workspaces.provisioners.process import fork_server

# The supervisor must encode texts as the worker does. The last two are set by the terminal's library, not by us.
UNIMPORTANT = {"LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES"}


def fork_server_of_this_process():
    [server] = fork_server._servers()
    return server


def stop_fork_server():
    forkserver._forkserver._stop()


@pytest.fixture
def wrong_clock(world):
    """Let workspaces inherit a clock that is an hour ahead, as one loaded library tells it."""
    world.inherited = {**world.inherited, "LD_PRELOAD": str(FAKETIME), "FAKETIME": "+1h"}
    stop_fork_server()
    yield
    # The next one inherits the right clock.
    stop_fork_server()


@pytest.mark.faketime
@pytest.mark.usefixtures("wrong_clock")
def test_supervisor_and_agent_run_with_what_every_workspace_inherits(world):
    began = datetime.now(UTC)
    key = world.started()
    wait_until(lambda: "begins" in world.backend.inspect(key).log_tail)
    told = datetime.fromisoformat(world.backend.inspect(key).log_tail.split()[0])
    assert told > began + timedelta(minutes=59)


def test_a_killed_fork_server_is_replaced_and_its_launches_go_on(world):
    first = world.started()
    kill(fork_server_of_this_process())
    second = world.started(MY_SECRET="hunter2")
    for key in (first, second):
        assert world.backend.inspect(key).state is BackendState.RUNNING
    assert world.supervisor(second).environ().keys() - UNIMPORTANT == {"PATH"}


def test_a_fork_server_that_multiprocessing_started_by_itself_starts_nothing_and_is_replaced(world, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    world.started()
    server, began = fork_server_of_this_process(), []

    def start_then_kill(inherited):
        found = start(inherited)
        if not began:
            began.append(kill(found))
        return found

    start = fork_server.start
    monkeypatch.setattr(fork_server, "start", start_then_kill)
    spec = world.spec("touch begun; exec sleep 600")
    with pytest.raises(ProvisionerError, match="fork server ended"):
        world.backend.start(spec)
    assert not (world.folder(spec.key).work / "begun").exists()
    world.backend.start(spec)
    assert fork_server_of_this_process() != server
    assert world.supervisor(spec.key).environ().keys() - UNIMPORTANT == {"PATH"}


def test_a_start_does_not_outlast_its_timeout_while_the_fork_server_is_stopped_and_the_next_gets_another(world):
    # Several times, since a server that is killed closes its connections before it has ended.
    for _ in range(8):
        world.started()
        server = fork_server_of_this_process()
        server.suspend()
        wait_until(lambda server=server: server.status() == psutil.STATUS_STOPPED)
        with pytest.raises(ProvisionerError, match="fork server ended"):
            world.backend.start(replace(world.spec(), start_timeout_seconds=0.1))
    assert world.backend.inspect(world.started()).state is BackendState.RUNNING


@pytest.fixture
def temporary(monkeypatch):
    """A folder for temporary files without the sockets of other workers. Its name is short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        stop_fork_server()
        yield Path(folder)
        stop_fork_server()


def test_a_start_removes_the_folders_of_killed_workers_and_no_others(free_world, temporary):
    parent = temporary / f"slipway-{os.getuid()}"
    killed, just_killed, living = (parent / name for name in ("killed", "just killed", "living"))
    for each in (killed, just_killed, living):
        each.mkdir(parents=True)
        (each / "listener").touch()
    parent.chmod(0o700)
    for each in (killed, living):
        os.utime(each, (0, 0))
    descriptor = os.open(living, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    free_world.started()
    os.close(descriptor)
    left = set(parent.iterdir())
    assert killed not in left
    assert {just_killed, living} < left
    assert len(left) == 3


def make_link(path):
    path.symlink_to(path.parent)


def make_dangling_link(path):
    path.symlink_to(path.parent / "nothing")


def make_file(path):
    path.touch(mode=0o600)


def make_readable_folder(path):
    path.mkdir()
    path.chmod(0o755)


def make_folder_of_another_user(path):
    path.mkdir(mode=0o700)


@pytest.mark.parametrize(
    "make", [make_link, make_dangling_link, make_file, make_readable_folder, make_folder_of_another_user]
)
def test_a_folder_for_sockets_that_another_user_may_have_made_is_refused(free_world, temporary, monkeypatch, make):
    user = os.getuid() + (make is make_folder_of_another_user)
    make(temporary / f"slipway-{user}")
    monkeypatch.setattr(os, "getuid", lambda: user)
    with pytest.raises(ProvisionerError, match="not a folder of Slipway's user alone"):
        free_world.started()


def test_a_child_of_the_worker_that_ended_does_not_disturb_the_fork_server(world):
    world.started()
    child = subprocess.Popen(["true"])
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    kill(fork_server_of_this_process())
    assert world.backend.inspect(world.started()).state is BackendState.RUNNING
    child.wait()


def test_supervisor_and_agent_do_not_show_the_workers_or_the_workspaces_environment(world, monkeypatch):
    # Other tests let workspaces inherit more.
    stop_fork_server()
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    key = world.started(None, MY_SECRET="hunter2", LD_PRELOAD="/nowhere.so")
    for process in (world.supervisor(key), world.agent(key)):
        assert process.environ().keys() - UNIMPORTANT == {"PATH"}


def test_supervisor_and_agent_hold_nothing_of_the_fork_server(world):
    key = world.started()
    server = fork_server_of_this_process()
    stop_fork_server()
    assert not is_alive(server)
    assert world.backend.inspect(key).state is BackendState.RUNNING
