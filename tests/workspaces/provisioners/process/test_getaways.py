"""Nothing that a hostile agent starts outlives a stop, whatever it tries: processes are counted on the host."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.launch_processes import GETAWAYS, marked, new_mark
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.provisioners.process.conftest import make_world
from workspaces.provisioners.base import DEAD_STATES, BackendState
from workspaces.provisioners.files import write_replacing
from workspaces.provisioners.host_processes import is_alive
from workspaces.provisioners.process import fork_server, provisioner

WAYS = [
    "clears its environment",
    "is a daemon",
    "forks itself every 2 ms",
    "ignores TERM",
    "suspends its supervisor",
]
STOP_SECONDS = 1


def getting_away(world, how):
    """Start an agent that tries it, and return its key and its mark."""
    mark = new_mark()
    key = world.started(f'{sys.executable} {GETAWAYS} "{how}" {mark}; sleep 600')
    world.wait_for_file(key, "away")
    return key, mark


@pytest.mark.parametrize("how", WAYS)
def test_nothing_is_left_after_a_stop_of_an_agent_that(world, how):
    key, mark = getting_away(world, how)
    assert marked(mark)
    began = time.monotonic()
    assert world.backend.stop(key, timeout_seconds=STOP_SECONDS).state in DEAD_STATES
    took = time.monotonic() - began
    assert marked(mark) == 0
    assert world.backend.running_launches() == []
    world.backend.destroy(key.workspace_id)
    # Not by the end of any patience.
    assert took < PATIENCE_SECONDS


@pytest.mark.parametrize("how", ["kills its supervisor", "suspends its supervisor"])
def test_an_agent_in_a_namespace_cannot_hinder_its_supervisor(secluded_world, monkeypatch, how):
    # Time to record the exit.
    monkeypatch.setattr(provisioner, "QUIT_SECONDS", PATIENCE_SECONDS)
    key, mark = getting_away(secluded_world, how)
    supervisor = secluded_world.supervisor(key)
    assert is_alive(supervisor)
    assert supervisor.status() != psutil.STATUS_STOPPED
    seen = secluded_world.backend.stop(key, timeout_seconds=STOP_SECONDS)
    assert seen.exit_code is not None
    assert marked(mark) == 0


def test_a_namespace_ends_with_its_supervisor(secluded_world):
    key, mark = getting_away(secluded_world, "forks itself every 2 ms")
    secluded_world.kill_supervisor(key)
    assert marked(mark) == 0
    seen = secluded_world.backend.inspect(key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, None)


@pytest.mark.cgroup
def test_a_cgroup_is_empty_after_the_stop_of_an_agent_that_killed_its_supervisor(tmp_path):
    world = make_world(tmp_path, "in a cgroup")
    key, mark = getting_away(world, "kills its supervisor")
    assert world.backend.stop(key, timeout_seconds=STOP_SECONDS).state in DEAD_STATES
    assert marked(mark) == 0


REACHES = {
    "its records": "ls $HOME/../../.records",
    "other workspaces": "ls $HOME/../.. | grep -v $WORKSPACE_ID | grep .",
    "its supervisor's memory": "(: < /proc/1/mem)",
    "its supervisor's files": "ls -L /proc/1/root",
    "its supervisor's environment": "cat /proc/1/environ",
    "the kernel's settings": "(: >> /proc/sys/kernel/core_pattern)",
    "the kernel's settings, mounted again": "mount -o remount,rw,bind /proc/sys",
    "the mounts that hide them": "umount $HOME/../..",
    "the mounts, from a user namespace": "unshare -Ur -m umount $HOME/../..",
    "the worker": f"kill -0 {os.getpid()}",
    "the fork server": "ls $SOCKET_FOLDER | grep .",
}


@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_an_agent_in_a_namespace_does_not_reach(secluded_world, reach):
    command = f"({reach}) >found 2>&1; echo $? >status.new; mv status.new status; sleep 600"
    key = secluded_world.started(command, SOCKET_FOLDER=str(fork_server.socket_folder()))
    status = secluded_world.wait_for_file(key, "status")
    found = (secluded_world.folder(key).work / "found").read_text()
    assert status.read_text() != "0\n", found
    assert "not found" not in found


LATER_WORKER = """
import os, sys
from multiprocessing import forkserver
from workspaces.provisioners.process import fork_server
fork_server.start({"PATH": os.environ["PATH"]})
print(forkserver._forkserver._forkserver_address, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def later_worker():
    """Start another worker when asked, and return the socket of its fork server."""
    started = []

    def start():
        worker = subprocess.Popen(
            [sys.executable, "-c", LATER_WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(worker)
        return Path(worker.stdout.readline().strip())

    yield start
    for worker in started:
        worker.communicate("end\n")


def test_an_agent_in_a_namespace_does_not_reach_the_fork_server_of_a_worker_that_started_later(
    secluded_world, later_worker
):
    reach = "until [ -e socket ]; do sleep 0.1; done; ls $(cat socket)"
    key = secluded_world.started(f"({reach}) >found 2>&1; echo $? >status.new; mv status.new status; sleep 600")
    socket = later_worker()
    assert socket.is_socket()
    write_replacing(secluded_world.folder(key).work / "socket", str(socket), 0o600)
    status = secluded_world.wait_for_file(key, "status")
    assert status.read_text() != "0\n", (secluded_world.folder(key).work / "found").read_text()


def test_an_agent_in_a_namespace_sees_no_process_of_the_host(secluded_world):
    key = secluded_world.started("ls -d /proc/[0-9]* >pids.new; mv pids.new pids; sleep 600")
    # The supervisor, the agent and its shell, which lists them.
    assert len(secluded_world.wait_for_file(key, "pids").read_text().split()) == 3


def test_a_launch_without_containment_says_so_and_one_with_it_does_not(world):
    seen = world.backend.inspect(world.started())
    is_contained = world.namespaces or world.cgroup
    assert bool(is_contained) != ("Not contained" in seen.detail)
