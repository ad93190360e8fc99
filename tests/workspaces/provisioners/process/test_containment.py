"""A process that tries to escape its launch is stopped with it, in a cgroup and without one."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.provisioners.process import stand_ins
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners import host_processes
from workspaces.provisioners.base import BackendState
from workspaces.provisioners.host_processes import children_of, is_alive
from workspaces.provisioners.process import cgroups, supervisor
from workspaces.provisioners.process.members import may_be_killed

ESCAPE = Path(__file__).with_name("escape.py")


@pytest.fixture
def caged_world(tmp_path):
    made = ProcessWorld(tmp_path / "root", cgroup=cgroups.of_process())
    yield made
    made.clean_up()


def escaping(world, how="waits"):
    """Start an agent with a process that clears its environment, calls setsid and forks twice. Return it, too."""
    key = world.started(f"exec {sys.executable} {ESCAPE} escaped {how}")
    escaped = world.inside(key, int(world.wait_for_file(key, "escaped").read_text()))
    assert escaped not in world.members(key)
    return key, escaped


def stop_after_its_agent(world, key):
    """Stop a launch once its agent has ended by itself. Return what is seen of it then."""
    world.backend.request_stop(key)
    wait_until(lambda: world.backend.inspect(key).state is BackendState.EXITED)
    return world.backend.stop(key, timeout_seconds=0.2)


@pytest.mark.parametrize("how", ["waits", "deaf"])
def test_an_escaped_process_is_stopped(world, how):
    key, escaped = escaping(world, how)
    assert is_alive(escaped)
    seen = stop_after_its_agent(world, key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, 0)
    assert not is_alive(escaped)
    assert world.backend.running_launches() == []


def test_an_escaped_process_gets_term_before_kill(world):
    key = world.started(
        "setsid sh -c 'trap \"touch asked; exit\" TERM; touch away; while :; do sleep 0.1; done' & wait"
    )
    world.wait_for_file(key, "away")
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert (world.folder(key).work / "asked").exists()


def test_a_process_that_replaces_itself_for_ever_is_stopped(world):
    key = world.started(f"exec {sys.executable} {ESCAPE} escaped restless")
    world.wait_for_file(key, "escaped")
    world.backend.stop(key, timeout_seconds=0.5)
    path = world.folder(key).work / "escaped"
    last = path.stat().st_mtime_ns
    assert world.backend.running_launches() == []
    time.sleep(0.2)
    assert path.stat().st_mtime_ns == last


def test_an_escaped_process_counts_as_running_after_its_agent_has_ended(world):
    key, escaped = escaping(world)
    os.kill(world.agent(key).pid, signal.SIGKILL)
    wait_until(lambda: world.backend.inspect(key).state is BackendState.EXITED)
    assert world.backend.inspect(key).exit_code == -signal.SIGKILL
    assert world.backend.running_launches() == [key]
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert not is_alive(escaped)


def test_on_a_kernel_without_lists_of_children_launches_start_and_stop(world, monkeypatch):
    monkeypatch.setattr(supervisor, "detach", stand_ins.without_lists_of_children)
    monkeypatch.setattr(host_processes, "Path", stand_ins.PathWithoutChildren)
    key, escaped = escaping(world, "deaf")
    leader = world.supervisor(key)
    # It becomes the parent of the escaped process a moment after that has written its file.
    wait_until(lambda: children_of(leader.pid) == {child.pid for child in leader.children()})
    # Nothing outlives the first process of a namespace.
    assert may_be_killed(leader) == bool(world.namespaces)
    seen = stop_after_its_agent(world, key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, 0)
    assert not is_alive(escaped)


def test_a_launch_with_a_stopped_supervisor_is_stopped(world):
    key, escaped = escaping(world)
    supervisor = world.supervisor(key)
    supervisor.suspend()
    began = time.monotonic()
    world.backend.stop(key, timeout_seconds=0.2)
    # Not by the end of any patience.
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert not is_alive(escaped)
    assert not is_alive(supervisor)


@pytest.mark.cgroup
def test_a_cgroup_finds_an_escaped_process_without_supervisor_and_record(caged_world):
    key, escaped = escaping(caged_world)
    caged_world.kill_supervisor(key)
    (caged_world.folder(key).record).unlink()
    assert caged_world.backend.running_launches() == [key]
    caged_world.backend.stop(key, timeout_seconds=0.2)
    assert not is_alive(escaped)


def test_without_supervisor_and_cgroup_the_session_and_its_descendants_are_stopped(free_world):
    key = free_world.started("env -i setsid sleep 600 & env -i sleep 600 & exec sleep 600")
    supervisor = free_world.supervisor(key)
    wait_until(lambda: len(supervisor.children(recursive=True)) == 4)
    left = supervisor.children(recursive=True)
    free_world.kill_supervisor(key)
    assert free_world.backend.running_launches() == [key]
    free_world.backend.stop(key, timeout_seconds=0.2)
    assert not any(map(is_alive, left))


def test_a_supervisor_that_gets_term_ends_the_whole_launch(world):
    key, escaped = escaping(world)
    supervisor = world.supervisor(key)
    supervisor.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_alive(supervisor))
    assert not is_alive(escaped)
    assert world.backend.inspect(key).exit_code == 0


def test_a_supervisor_that_gets_quit_kills_the_whole_launch(world):
    key, escaped = escaping(world, "deaf")
    supervisor = world.supervisor(key)
    supervisor.send_signal(signal.SIGQUIT)
    wait_until(lambda: not is_alive(supervisor))
    assert not is_alive(escaped)
    assert world.backend.inspect(key).exit_code == -signal.SIGKILL


def test_a_supervisor_whose_children_cannot_be_killed_uses_little_processor_time(world, monkeypatch):
    monkeypatch.setattr(supervisor, "detach", stand_ins.killing_nothing)
    key = world.started()
    leader = world.supervisor(key)

    def processor_seconds():
        return sum(leader.cpu_times()[:2])

    leader.send_signal(signal.SIGQUIT)
    # It kills without a pause first, and then again after another QUIT.
    before = processor_seconds()
    wait_until(lambda: processor_seconds() > before)
    time.sleep(0.5)
    before, began = processor_seconds(), time.monotonic()
    time.sleep(1)
    assert processor_seconds() - before < 0.2 * (time.monotonic() - began)
    assert is_alive(world.agent(key))


def test_a_requested_stop_ends_an_escaped_process_too(world):
    key, escaped = escaping(world)
    supervisor = world.supervisor(key)
    world.backend.request_stop(key)
    wait_until(lambda: not is_alive(supervisor))
    assert not is_alive(escaped)


def test_the_exit_tells_the_peaks_of_memory_and_processes(free_world, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "detach", stand_ins.with_peaks)
    free_world.cgroup = tmp_path
    key = free_world.started("exit 3")
    wait_until(lambda: free_world.backend.inspect(key).state is BackendState.EXITED)
    seen = free_world.backend.inspect(key)
    assert (seen.exit_code, seen.detail) == (3, "memory.peak 1048576, pids.peak 7")
