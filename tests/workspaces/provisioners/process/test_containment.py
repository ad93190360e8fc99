"""A process that tries to escape its launch is stopped with it, in a cgroup and without one."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.provisioners.process import stand_ins
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners.base import BackendState
from workspaces.provisioners.host_processes import is_alive
from workspaces.provisioners.process import cgroups, supervisor

ESCAPE = Path(__file__).with_name("escape.py")


@pytest.fixture
def free_world(tmp_path):
    made = ProcessWorld(tmp_path / "root")
    yield made
    made.clean_up()


@pytest.fixture
def caged_world(tmp_path):
    made = ProcessWorld(tmp_path / "root", cgroup=cgroups.of_process())
    yield made
    made.clean_up()


@pytest.fixture(params=["without a cgroup", pytest.param("in a cgroup", marks=pytest.mark.cgroup)])
def world(request):
    return request.getfixturevalue("caged_world" if request.param == "in a cgroup" else "free_world")


def escaping(world, how="waits"):
    """Start an agent with a process that clears its environment, calls setsid and forks twice."""
    key = world.started(f"exec {sys.executable} {ESCAPE} escaped {how}")
    world.wait_for_file(key, "escaped")
    assert escaped_pid(world, key) not in {process.pid for process in world.members(key)}
    return key


def escaped_pid(world, key):
    return int((world.folder(key).work / "escaped").read_text())


def runs(pid):
    return psutil.pid_exists(pid) and is_alive(psutil.Process(pid))


@pytest.mark.parametrize("how", ["waits", "deaf"])
def test_an_escaped_process_is_stopped(world, how):
    key = escaping(world, how)
    pid = escaped_pid(world, key)
    assert runs(pid)
    seen = world.backend.stop(key, timeout_seconds=1)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, 0)
    assert not runs(pid)
    assert world.backend.running_launches() == []


def test_an_escaped_process_gets_term_before_kill(world):
    key = world.started(
        "setsid sh -c 'trap \"touch asked; exit\" TERM; touch away; while :; do sleep 0.1; done' & wait"
    )
    world.wait_for_file(key, "away")
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert (world.folder(key).work / "asked").exists()


def test_a_process_that_replaces_itself_for_ever_is_stopped(world):
    key = escaping(world, "restless")
    world.backend.stop(key, timeout_seconds=0.5)
    path = world.folder(key).work / "escaped"
    last = path.stat().st_mtime_ns
    assert world.backend.running_launches() == []
    time.sleep(0.2)
    assert path.stat().st_mtime_ns == last


def test_an_escaped_process_counts_as_running_after_its_agent_has_ended(world):
    key = escaping(world)
    os.kill(world.agent(key).pid, signal.SIGKILL)
    wait_until(lambda: world.backend.inspect(key).state is BackendState.EXITED)
    assert world.backend.inspect(key).exit_code == -signal.SIGKILL
    assert world.backend.running_launches() == [key]
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert not runs(escaped_pid(world, key))


def test_a_launch_with_a_stopped_supervisor_is_stopped(world):
    key = escaping(world)
    supervisor = world.supervisor(key)
    supervisor.suspend()
    world.backend.stop(key, timeout_seconds=0.2)
    assert not runs(escaped_pid(world, key))
    assert not is_alive(supervisor)


@pytest.mark.cgroup
def test_a_cgroup_finds_an_escaped_process_without_supervisor_and_record(caged_world):
    key = escaping(caged_world)
    caged_world.kill_supervisor(key)
    (caged_world.folder(key).path / "process.json").unlink()
    assert caged_world.backend.running_launches() == [key]
    caged_world.backend.stop(key, timeout_seconds=0.2)
    assert not runs(escaped_pid(caged_world, key))


def test_without_supervisor_and_cgroup_the_session_and_its_descendants_are_stopped(free_world):
    key = free_world.started("env -i setsid sleep 60 & env -i sleep 60 & exec sleep 60")
    supervisor = free_world.supervisor(key)
    wait_until(lambda: len(supervisor.children(recursive=True)) == 4)
    left = [child.pid for child in supervisor.children(recursive=True)]
    free_world.kill_supervisor(key)
    assert free_world.backend.running_launches() == [key]
    free_world.backend.stop(key, timeout_seconds=0.2)
    assert not any(map(runs, left))


def test_a_supervisor_that_gets_term_ends_the_whole_launch(world):
    key = escaping(world)
    supervisor = world.supervisor(key)
    supervisor.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_alive(supervisor))
    assert not runs(escaped_pid(world, key))
    assert world.backend.inspect(key).exit_code == 0


def test_a_supervisor_that_gets_quit_kills_the_whole_launch(world):
    key = escaping(world, "deaf")
    supervisor = world.supervisor(key)
    supervisor.send_signal(signal.SIGQUIT)
    wait_until(lambda: not is_alive(supervisor))
    assert not runs(escaped_pid(world, key))
    assert world.backend.inspect(key).exit_code == -signal.SIGKILL


def test_a_requested_stop_ends_an_escaped_process_too(world):
    key = escaping(world)
    supervisor = world.supervisor(key)
    world.backend.request_stop(key)
    wait_until(lambda: not is_alive(supervisor))
    assert not runs(escaped_pid(world, key))


def test_the_exit_tells_the_peaks_of_memory_and_processes(free_world, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "detach", stand_ins.with_peaks)
    free_world.cgroup = tmp_path
    key = free_world.started("exit 3")
    wait_until(lambda: free_world.backend.inspect(key).state is BackendState.EXITED)
    seen = free_world.backend.inspect(key)
    assert (seen.exit_code, seen.detail) == (3, "memory.peak 1048576, pids.peak 7")
