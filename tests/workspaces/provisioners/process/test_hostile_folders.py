"""An agent that replaces what lies in its launch's folder: reads don't wait, and no other launch suffers from it."""

import json
import os
import socket
import subprocess
import sys

import psutil
import pytest

from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.provisioners.base import DEAD_STATES, BackendState
from workspaces.provisioners.host_processes import start_time
from workspaces.provisioners.logs import Log, tail_of


def put_fifo(path):
    os.mkfifo(path)


def put_link_to_nowhere(path):
    path.symlink_to("/nowhere/at/all")


def put_link_to_device(path):
    path.symlink_to("/dev/zero")


def put_folder(path):
    path.mkdir()


def put_huge_file(path):
    with path.open("wb") as file:
        file.truncate(2**40)


def put_garbage(path):
    path.write_bytes(b"\xff\x00{")


def put_deep_json(path):
    path.write_text("[" * 60_000)


def put_deeper_json(path):
    path.write_text("[" * 300_000)


def put_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        # Its path may be longer than an address may be.
        folder = os.open(path.parent, os.O_PATH)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


REPLACEMENTS = [
    put_fifo,
    put_link_to_nowhere,
    put_link_to_device,
    put_folder,
    put_huge_file,
    put_garbage,
    put_deep_json,
    put_deeper_json,
    put_socket,
]


@pytest.fixture
def world(free_world):
    """Without containment, since only there can an agent reach its records."""
    return free_world


def replace(path, put):
    if path.exists():
        path.unlink()
    put(path)


@pytest.mark.parametrize("put", REPLACEMENTS)
def test_a_replaced_record_makes_its_own_launch_unknown_and_hides_none(world, put):
    key, other = world.started(), world.started()
    agent = world.agent(key)
    replace(world.folder(key).record, put)
    assert world.backend.inspect(key).state is BackendState.UNKNOWN
    assert sorted(world.backend.running_launches(), key=str) == sorted([key, other], key=str)
    # Its processes are found by their supervisor all the same.
    assert world.backend.stop(key, timeout_seconds=1).state in DEAD_STATES
    assert agent not in world.members(key)
    assert world.backend.running_launches() == [other]
    assert world.backend.inspect(other).state is BackendState.RUNNING


@pytest.mark.parametrize("put", REPLACEMENTS)
def test_a_replaced_exit_is_an_exit_without_a_code(world, put):
    key = world.started()
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    replace(world.folder(key).exit, put)
    seen = world.backend.inspect(key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, None)


@pytest.mark.parametrize("code", [True, 10**30, -999, "0", None, [1]])
def test_an_exit_code_that_is_none_is_not_believed(world, code):
    key = world.started()
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    (world.folder(key).exit).write_text(json.dumps({"exit_code": code, "memory.peak": "x\0"}))
    seen = world.backend.inspect(key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, None)
    assert "not known" in seen.detail


@pytest.mark.parametrize(
    "forged",
    [
        {"agent": [-1, 1]},
        {"agent": [True, 1]},
        {"agent": ["self", 1]},
        {"supervisor": [1, 2, 3]},
        {"port": 10**30},
        {"host": {"hostname": "a\0b"}},
        {"host": {"hostname": "x" * 9000}},
    ],
)
def test_a_forged_record_is_damaged(world, forged):
    key = world.started()
    path = world.folder(key).record
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "host": {**record["host"], **forged.pop("host", {})}, **forged}))
    seen = world.backend.inspect(key)
    assert seen.state is BackendState.UNKNOWN
    assert "damaged" in seen.detail


@pytest.mark.parametrize("put", [put_fifo, put_link_to_device, put_folder])
def test_a_supervisor_goes_on_where_its_next_files_are_taken(world, put):
    world.log_bytes = 4096
    key = world.started("while [ ! -e go ]; do sleep 0.05; done; seq 10000; touch done; exec sleep 600")
    folder = world.folder(key)
    put(folder.records / "exit.json.new")
    put(folder.records / "agent.log.1")
    (folder.work / "go").touch()
    world.wait_for_file(key, "done")
    seen = world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert seen.state is BackendState.EXITED
    assert world.members(key) == []


@pytest.mark.parametrize("put", [put_fifo, put_link_to_device, put_folder])
def test_a_replaced_log_is_empty(tmp_path, put):
    put(tmp_path / "log")
    assert tail_of(tmp_path / "log") == ""


def test_a_log_goes_on_in_a_new_file_where_a_fifo_was_put_in_its_place(tmp_path):
    log = Log(tmp_path / "log", 100)
    replace(tmp_path / "log", put_fifo)
    for number in range(100):
        log.add(b"line %03d\n" % number)
    assert (tmp_path / "log").read_bytes().endswith(b"line 099\n")


def test_a_log_is_not_written_through_a_link(tmp_path):
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "log").symlink_to(tmp_path / "kept")
    Log(tmp_path / "log", 100).add(b"line\n")
    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.parametrize("put", [put_fifo, put_folder, put_garbage])
def test_other_things_among_the_launches_are_passed_over(world, put):
    key = world.started()
    put(world.folder(key).records.parent / "not-an-id")
    put(world.folder(key).records.parent.parent / "not-an-id")
    assert world.backend.running_launches() == [key]


def test_a_link_to_anothers_launches_names_none_of_them(world):
    theirs, ours = world.started(), world.started()
    world.backend.stop(ours, timeout_seconds=PATIENCE_SECONDS)
    launches = world.folder(ours).records.parent
    launches.rename(launches.with_name("moved"))
    launches.symlink_to(world.folder(theirs).records.parent)
    assert world.backend.running_launches() == [theirs]
    world.backend.destroy(ours.workspace_id)
    assert world.backend.inspect(theirs).state is BackendState.RUNNING


@pytest.mark.parametrize("put", [put_link_to_nowhere, put_folder])
def test_a_lock_that_was_replaced_stops_no_stop(world, put):
    key = world.started()
    replace(world.folder(key).lock, put)
    assert world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS).state is BackendState.EXITED


def test_the_token_is_not_written_through_a_link(world, tmp_path):
    spec = world.spec()
    folder = world.folder(spec.key)
    folder.make()
    (tmp_path / "kept").write_text("kept")
    (folder.config / ".auth_token").symlink_to(tmp_path / "kept")
    (folder.config / ".auth_token.new").symlink_to(tmp_path / "kept")
    world.backend.start(spec)
    assert (tmp_path / "kept").read_text() == "kept"
    assert (folder.config / ".auth_token").read_text() == "the-token"


def test_a_deleted_folder_hides_no_process(world):
    key = world.started()
    agent = world.agent(key)
    world.folder(key).records.rename(world.root / "away")
    world.backend.stop(key, timeout_seconds=1)
    wait_until(lambda: agent not in world.members(key))


@pytest.mark.parametrize(
    "damage",
    [
        "cd $HOME/.. && rm -rf launches && touch launches",
        "cd $CONFIGS_DIR/.. && rm -rf config $RECORDS/process.json && touch config",
        "cd $RECORDS && rm process.json && ln -s /nonexistent/x barred",
        "cd $RECORDS && rm process.json lock && mkfifo lock",
        "cd $RECORDS/.. && rm -rf $LAUNCH_ID && ln -s /nonexistent $LAUNCH_ID",
        "cd $RECORDS/../.. && rm -rf $WORKSPACE_ID && touch $WORKSPACE_ID",
        "cd $RECORDS/../../.. && rm -rf .records && ln -s .records .records",
        "cd $HOME/.. && rm -rf launches && ln -s /nonexistent launches",
        "cd $HOME/.. && rm -rf work && ln -s /nonexistent work",
        "cd $HOME/../.. && mv $WORKSPACE_ID moved && touch $WORKSPACE_ID",
    ],
)
def test_damaged_folders_prevent_no_stop(world, damage):
    records = f"RECORDS={world.root}/.records/$WORKSPACE_ID/$LAUNCH_ID"
    key = world.started(f"({records}; {damage}) && touch {world.root}/damaged; exec sleep 600")
    wait_until((world.root / "damaged").exists)
    left = world.members(key)
    assert left
    assert world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS).state in DEAD_STATES
    assert world.members(key) == []
    assert world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS).state in DEAD_STATES


def test_a_record_that_names_a_strangers_session_ends_no_stranger(world):
    key = world.started()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        path = world.folder(key).record
        forged = {"supervisor": [stranger.pid, start_time(psutil.Process(stranger.pid))]}
        path.write_text(json.dumps({**json.loads(path.read_text()), **forged}))
        world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
        assert world.members(key) == []
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("forged", ['{"exit_code": 0}', "{"])
def test_an_exit_is_not_believed_while_the_agent_lives(world, forged):
    key = world.started()
    world.folder(key).exit.write_text(forged)
    assert world.backend.inspect(key).state is BackendState.RUNNING


def test_folders_nested_thousands_of_times_are_deleted(world):
    program = "import os\nfor _ in range(2000): os.mkdir('a'); os.chdir('a')"
    key = world.started(f'{sys.executable} -c "{program}" && touch done; exec sleep 600')
    world.wait_for_file(key, "done")
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    world.backend.destroy(key.workspace_id)
    assert not world.folder(key).workspace.exists()
