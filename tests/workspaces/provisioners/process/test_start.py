"""The start of a launch: twice, too slow, refused, or cut off at any moment."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.launch_processes import name_of
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.provisioners.process import stand_ins
from tests.workspaces.provisioners.process.process_world import ProcessWorld, kill
from workspaces.provisioners.base import BackendState, LaunchKey, Observation, ProvisionerError
from workspaces.provisioners.process import fork_server, provisioner, supervisor
from workspaces.provisioners.process.folders import locked


def test_two_starts_at_once_make_one_process(world):
    spec = world.spec()
    barrier = threading.Barrier(4)
    seen: list[Observation] = []

    def start():
        barrier.wait()
        seen.append(world.backend.start(spec))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.state for one in seen} == {BackendState.RUNNING}
    assert len({one.url for one in seen}) == 1
    only = {world.supervisor(spec.key), world.agent(spec.key)}
    # The supervisors that found the lock taken end a moment after their answers.
    wait_until(lambda: {each for each in world.members(spec.key) if each.name() == name_of(spec.key.launch_id)} == only)


def test_launches_at_once_have_different_ports(world):
    urls = [world.backend.start(world.spec()).url for _ in range(6)]
    assert len(set(urls)) == 6


def test_a_port_in_use_by_another_launch_is_not_given_again(world, monkeypatch):
    ports = [free_port(), free_port()]
    run_as(monkeypatch, stand_ins.offered_ports, ports)
    assert [urlsplit(world.backend.start(world.spec()).url).port for _ in range(2)] == ports


def test_a_launch_prepared_but_never_spawned_is_missing_and_can_be_started(world):
    spec = world.spec()
    world.folder(spec.key).make()
    assert world.backend.inspect(spec.key).state is BackendState.MISSING
    assert world.backend.start(spec).state is BackendState.RUNNING


def test_a_launch_whose_worker_is_at_work_is_unknown(world):
    spec = world.spec()
    folder = world.folder(spec.key)
    folder.make_records()
    with locked(folder.lock):
        assert world.backend.inspect(spec.key).state is BackendState.UNKNOWN
    assert world.backend.inspect(spec.key).state is BackendState.MISSING


WORKER = """
import sys, signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from tests.workspaces.provisioners.process import stand_ins
from tests.workspaces.provisioners.process.process_world import ProcessWorld, kill
from workspaces.provisioners.base import LaunchKey, LaunchSpec
world = ProcessWorld(Path(sys.argv[1]), namespaces=int(sys.argv[4]))
spec = world.spec()
spec = LaunchSpec(key=LaunchKey(workspace_id=UUID(sys.argv[2]), launch_id=UUID(sys.argv[3])), config=spec.config,
                  environment=spec.environment, token="t", start_timeout_seconds=60)
world.backend.prepare()
print("ready", flush=True)
sys.stdin.readline()
world.backend.start(spec)
"""


@pytest.mark.parametrize("milliseconds", [0, 2, 5, 10, 15, 20, 30, 60])
def test_a_worker_killed_while_it_starts_leaves_a_running_launch_or_none(world, milliseconds):
    key = LaunchKey(workspace_id=uuid4(), launch_id=uuid4())
    world.keys.append(key)
    arguments = map(str, (world.root, key.workspace_id, key.launch_id, world.namespaces))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[4])},
    )  # fmt: skip
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdout.readline()
    worker.stdin.write(b"go\n")
    worker.stdin.flush()
    threading.Event().wait(milliseconds / 1000)
    worker.kill()
    worker.communicate()

    def agree():
        state = world.backend.inspect(key).state
        return state is not BackendState.UNKNOWN and bool(world.members(key)) == (state is BackendState.RUNNING)

    # The fork server may still be at it.
    wait_until(agree)


def run_as(monkeypatch, stand_in, *arguments):
    """Let the fork server run a stand-in for the supervisor."""
    monkeypatch.setattr(supervisor, "detach", partial(stand_in, *arguments))


@pytest.fixture
def patient_fork_server(monkeypatch):
    """Let the fork server take as long as this machine needs: only the supervisor is to be too slow."""
    timer = threading.Timer
    patient = SimpleNamespace(Timer=lambda _seconds, *action: timer(PATIENCE_SECONDS, *action))
    monkeypatch.setattr(fork_server, "threading", patient)


@pytest.fixture
def unrecorded(world, monkeypatch):
    """A launch whose supervisor stands still before it writes its record, and the worker that waits for it."""
    spec = world.spec("touch begun; exec sleep 600")
    run_as(monkeypatch, stand_ins.standing_still, "start_time")
    starting = threading.Thread(target=pytest.raises, args=(ProvisionerError, world.backend.start, spec))
    starting.start()
    wait_until(lambda: len(world.members(spec.key)) == 2)
    yield spec, starting
    starting.join(PATIENCE_SECONDS)


def test_an_agent_whose_supervisor_dies_before_it_is_recorded_does_not_begin(world, unrecorded):
    spec, starting = unrecorded
    kill(world.members(spec.key)[0])
    wait_until(lambda: world.members(spec.key) == [])
    starting.join(PATIENCE_SECONDS)
    assert world.backend.inspect(spec.key).state is BackendState.MISSING
    assert not (world.folder(spec.key).work / "begun").exists()


def test_a_launch_is_unknown_until_it_is_recorded_and_a_stop_ends_it(world, unrecorded):
    spec, _ = unrecorded
    assert world.backend.inspect(spec.key).state is BackendState.UNKNOWN
    assert world.backend.running_launches() == [spec.key]
    assert world.backend.stop(spec.key, timeout_seconds=1).state is BackendState.MISSING
    assert world.members(spec.key) == []


@pytest.mark.usefixtures("patient_fork_server")
def test_a_start_that_takes_too_long_is_given_up_and_leaves_nothing(world, monkeypatch):
    # The start of the fork server counts, too, so let it run already.
    world.started()
    run_as(monkeypatch, stand_ins.not_forking)
    spec = replace(world.spec(), start_timeout_seconds=1)
    with pytest.raises(ProvisionerError, match="longer than 1 s"):
        world.backend.start(spec)
    assert world.members(spec.key) == []
    assert world.backend.inspect(spec.key).state is BackendState.MISSING


@pytest.mark.usefixtures("patient_fork_server")
@pytest.mark.parametrize("step", ["Log", "listen", "start_time"])
def test_a_supervisor_that_stands_still_after_it_left_the_worker_is_given_up_too(world, monkeypatch, step):
    world.started()
    run_as(monkeypatch, stand_ins.standing_still, step)
    spec = replace(world.spec("touch begun; exec sleep 600"), start_timeout_seconds=1)
    with pytest.raises(ProvisionerError, match="longer than 1 s"):
        world.backend.start(spec)
    assert world.members(spec.key) == []
    assert not world.folder(spec.key).is_locked()
    assert world.backend.inspect(spec.key).state is BackendState.MISSING
    assert not (world.folder(spec.key).work / "begun").exists()


def test_a_supervisor_that_ends_without_a_word_gets_a_sentence_and_the_next_start_goes_on(world, monkeypatch):
    spec = world.spec()
    with monkeypatch.context() as patched:
        run_as(patched, stand_ins.silent)
        with pytest.raises(ProvisionerError, match="its supervisor ended"):
            world.backend.start(spec)
    assert world.backend.inspect(spec.key).state is BackendState.MISSING
    assert world.backend.start(spec).state is BackendState.RUNNING


@pytest.mark.parametrize(("variables", "complaint"), [
    ({"A=B": "my-secret"}, "illegal environment variable name"),
    ({"A": "my\0secret"}, "embedded null byte"),
])  # fmt: skip
def test_what_a_supervisor_cannot_begin_with_it_says_in_a_sentence(world, variables, complaint):
    with pytest.raises(ProvisionerError) as caught:
        world.backend.start(world.spec(**variables))
    assert str(caught.value) == f"The workspace's process could not be started: {complaint}."


def test_a_fork_that_the_system_refuses_gets_its_sentence(world, monkeypatch):
    run_as(monkeypatch, stand_ins.without_processes)
    with pytest.raises(ProvisionerError, match="could not be started: Resource temporarily unavailable"):
        world.backend.start(world.spec())


def test_a_supervisor_that_cannot_write_says_why(world):
    spec = world.spec()
    folder = world.folder(spec.key)
    folder.make_records()
    (folder.records / "process.json.new").mkdir()
    with pytest.raises(ProvisionerError, match="Is a directory"):
        world.backend.start(spec)
    # The supervisor says so just before it ends.
    wait_until(lambda: world.members(spec.key) == [])


def test_a_root_that_is_no_folder_gets_a_sentence(tmp_path):
    world = ProcessWorld(tmp_path / "file")
    world.root.touch()
    spec = world.spec()
    with pytest.raises(ProvisionerError, match="could not be started: Not a directory"):
        world.backend.start(spec)


@pytest.mark.parametrize("value", ["a\0b", "x" * 3_000_000])
def test_an_environment_that_the_system_refuses_gets_a_sentence_without_its_value(world, value):
    spec = world.spec(SECRET=value)
    with pytest.raises(ProvisionerError, match="could not be started") as caught:
        world.backend.start(spec)
    assert len(str(caught.value)) < 300
    # The supervisor says so just before it ends.
    wait_until(lambda: world.members(spec.key) == [])


def test_a_full_disk_gets_a_sentence(world, monkeypatch):
    run_as(monkeypatch, stand_ins.without_space)
    with pytest.raises(ProvisionerError, match="No space left on device"):
        world.backend.start(world.spec())


def forget(world, key):
    world.backend.forget(key)


def destroy(world, key):
    world.backend.destroy(key.workspace_id)


@pytest.mark.parametrize("delete", [forget, destroy])
def test_a_start_that_hangs_in_the_fork_server_does_not_begin_after_its_launch_was_deleted(world, delete):
    world.started()
    server = fork_server.start(world.inherited)
    spec = world.spec("touch begun; exec sleep 600")
    refused: list[str] = []

    def start():
        with pytest.raises(ProvisionerError) as caught:
            world.backend.start(spec)
        refused.append(str(caught.value))

    server.suspend()
    starting = threading.Thread(target=start)
    starting.start()
    wait_until(world.folder(spec.key).records.exists)
    assert world.backend.stop(spec.key, timeout_seconds=1).state is BackendState.MISSING
    delete(world, spec.key)
    server.resume()
    starting.join(PATIENCE_SECONDS)
    assert "deleted before it was started" in refused[0]
    # The supervisor that refused ends a moment after its answer.
    wait_until(lambda: not world.members(spec.key))
    assert not world.folder(spec.key).workspace.exists()


@pytest.mark.parametrize("delete", [forget, destroy])
def test_a_start_does_not_begin_if_its_launch_is_deleted_just_before_it_locks_it(world, monkeypatch, tmp_path, delete):
    spec = world.spec("touch begun; exec sleep 600")
    world.folder(spec.key).make_records()
    opened, deleted = tmp_path / "opened", tmp_path / "deleted"
    run_as(monkeypatch, stand_ins.locking_late, opened, deleted)
    refused: list[str] = []

    def start():
        with pytest.raises(ProvisionerError) as caught:
            world.backend.start(spec)
        refused.append(str(caught.value))

    starting = threading.Thread(target=start)

    @contextmanager
    def locked_after_it_opened(path):
        """The deletion has looked for processes by now."""
        if not opened.exists():
            starting.start()
            wait_until(opened.exists)
        with locked(path) as is_ours:
            yield is_ours

    monkeypatch.setattr(provisioner, "locked", locked_after_it_opened)
    delete(world, spec.key)
    deleted.touch()
    starting.join(PATIENCE_SECONDS)
    assert "deleted before it was started" in refused[0]
    wait_until(lambda: not world.members(spec.key))
    folder = world.folder(spec.key)
    assert not folder.path.exists()
    assert not folder.records.exists()


def test_a_launch_leaves_one_file_for_all_ports_and_nothing_else(world):
    keys = [world.started() for _ in range(2)]
    for key in keys:
        world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
        world.backend.destroy(key.workspace_id)
    assert [path.name for path in world.root.rglob("*")] == [".records", "ports"]
    assert (world.root / ".records" / "ports").stat().st_size == 0


def test_a_launch_is_not_written_through_a_link_that_an_earlier_one_left(world, tmp_path):
    first = world.started()
    world.backend.stop(first, timeout_seconds=PATIENCE_SECONDS)
    world.backend.forget(first)
    launches = world.folder(first).path.parent
    launches.rmdir()
    launches.symlink_to(tmp_path)
    with pytest.raises(ProvisionerError, match="is a symbolic link"):
        world.started(workspace_id=first.workspace_id)
