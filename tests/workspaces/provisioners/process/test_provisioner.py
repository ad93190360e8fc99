"""The process backend with real processes: what survives what, and that nothing is left behind."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import yaml

from tests.launch_processes import name_of
from tests.left_out import FAKETIME
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.provisioners.process import stand_ins
from tests.workspaces.provisioners.process.process_world import ProcessWorld, kill
from workspaces.provisioners.base import BackendState, LaunchKey, Observation, ProvisionerError
from workspaces.provisioners.host_processes import find_process, is_alive, session_members, start_time
from workspaces.provisioners.process import cgroups, fork_server, supervisor
from workspaces.provisioners.process.folders import locked, this_host

GRANDCHILD = "setsid sh -c 'echo $$ >grandchild.new; mv grandchild.new grandchild; exec sleep 60' & exec sleep 60"

# The supervisor must encode texts as the worker does. The last two are set by the terminal's library, not by us.
UNIMPORTANT = {"LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES"}


@pytest.fixture(params=["without a cgroup", pytest.param("in a cgroup", marks=pytest.mark.cgroup)])
def world(request, tmp_path):
    made = ProcessWorld(tmp_path / "root", cgroup=cgroups.of_process() if request.param == "in a cgroup" else None)
    yield made
    made.clean_up()


def fork_server_of_this_process():
    [server] = fork_server._servers()
    return server


def stop_fork_server():
    forkserver._forkserver._stop()


def rewrite(world, key, **host):
    """Let the launch's record claim that it was written elsewhere."""
    path = world.folder(key).path / "process.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "host": {**record["host"], **host}}))


def test_a_workspace_gets_its_config_its_token_and_a_clean_environment(world):
    key = world.started("env >seen.new; mv seen.new seen; exec sleep 60", MINE="yes")
    seen = dict(line.split("=", 1) for line in world.wait_for_file(key, "seen").read_text().splitlines() if "=" in line)
    config = world.folder(key).config
    port = int(seen["PORT"])
    assert seen["MINE"] == "yes"
    assert seen["HOME"] == seen["PWD"] == str(world.folder(key).work)
    assert seen["LAUNCH_ID"] == str(key.launch_id)
    assert seen["WORKSPACE_CONFIG_PATH"] == seen["CONFIGS_DIR"] == str(config)
    assert not {"PYTHONPATH", "DATABASE_URL", "SECRETS_KEYS", "DJANGO_SETTINGS_MODULE"} & seen.keys()
    assert json.loads((config / "config.json").read_text())["a2a"]["port"] == port
    assert yaml.safe_load((config / "config.yaml").read_text())["a2a"]["port"] == port
    assert (config / ".auth_token").read_text() == "the-token"
    assert stat.S_IMODE((config / ".auth_token").stat().st_mode) == 0o600


def test_the_requested_models_requirements_hold_inside_too(world):
    models = [{"id": "own", "required_env": ["MINE"]}]
    runtime_config = {"model": "usual", "required_env": ["OTHER"], "models": models}
    spec = replace(world.spec(MINE="x"), model="own", config={"runtime_config": runtime_config})
    world.backend.start(spec)
    wait_until(lambda: "can't be reached" in world.backend.inspect(spec.key).log_tail)
    assert "Missing" not in world.backend.inspect(spec.key).log_tail


def test_a_workspaces_own_data_outlives_a_launch(world):
    first = world.started("touch kept; exec sleep 60")
    world.wait_for_file(first, "kept")
    world.backend.stop(first, timeout_seconds=PATIENCE_SECONDS)
    world.backend.forget(first)
    second = world.spec(workspace_id=first.workspace_id)
    world.backend.start(second)
    assert (world.folder(second.key).work / "kept").exists()


def test_no_zombie_of_a_launch_stays_with_the_worker(world):
    key = world.started()
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


def test_a_stop_finds_grandchildren_in_sessions_of_their_own(world):
    key = world.started(GRANDCHILD)
    grandchild = psutil.Process(int(world.wait_for_file(key, "grandchild").read_text()))
    assert grandchild in world.members(key)
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert world.members(key) == []
    assert not is_alive(grandchild)


def test_a_stop_finds_what_dropped_its_environment_but_stayed_in_the_session(world):
    key = world.started("env -i /bin/sh -c 'touch bare; sleep 60' & exec sleep 60")
    world.wait_for_file(key, "bare")
    in_session = session_members(world.supervisor(key))
    assert len(in_session) > len(world.members(key))
    kill(world.agent(key))
    world.backend.stop(key, timeout_seconds=2)
    assert not any(map(is_alive, in_session))


def test_what_ignores_term_is_killed_after_the_timeout(world):
    key = world.started("trap '' TERM; touch deaf; while :; do sleep 0.1; done")
    world.wait_for_file(key, "deaf")
    seen = world.backend.stop(key, timeout_seconds=0.3)
    assert seen.state is BackendState.EXITED
    assert world.members(key) == []


def test_a_stopped_agent_process_is_killed_with_all_it_has(world):
    key = world.started()
    os.kill(world.agent(key).pid, signal.SIGSTOP)
    seen = world.backend.stop(key, timeout_seconds=0.3)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, -signal.SIGKILL)


def test_an_agent_killed_with_sigkill_has_exited_with_that_signal(world):
    key = world.started()
    wait_until(lambda: "begins" in world.backend.inspect(key).log_tail)
    kill(world.agent(key))
    seen = world.backend.inspect(key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, -signal.SIGKILL)
    assert "begins" in seen.log_tail


def test_a_killed_supervisor_does_not_make_its_agent_dead(world):
    key = world.started()
    kill(world.supervisor(key))
    assert world.backend.inspect(key).state is BackendState.RUNNING
    seen = world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, None)
    assert "not known" in seen.detail


def test_supervisor_and_agent_killed_leave_an_exit_without_a_code(world):
    key = world.started()
    kill(world.supervisor(key))
    kill(world.agent(key))
    seen = world.backend.inspect(key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, None)


def test_a_zombie_is_dead(world):
    key = world.started()
    world.supervisor(key).suspend()
    agent = world.agent(key)
    agent.kill()
    wait_until(lambda: agent.status() == psutil.STATUS_ZOMBIE)
    # Its other threads may need a moment more.
    wait_until(lambda: not is_alive(agent))
    os.kill(agent.pid, 0)
    assert world.backend.inspect(key).state is BackendState.EXITED
    world.supervisor(key).resume()


def test_a_stop_in_the_first_moments_ends_the_agent_cleanly(world):
    seen = world.backend.stop(world.started(), timeout_seconds=PATIENCE_SECONDS)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, 0)
    assert "Asked to stop" in seen.log_tail


def test_a_pid_given_to_another_process_is_not_taken_for_the_agent(world):
    key = world.started()
    agent = world.agent(key)
    assert find_process(agent.pid, start_time(agent)) == agent
    assert find_process(agent.pid, start_time(agent) - 0.01) is None


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
    started = [process for process in world.members(spec.key) if process.name() == name_of(spec.key.launch_id)]
    assert started == [world.supervisor(spec.key), world.agent(spec.key)]


def test_launches_at_once_have_different_ports(world):
    urls = [world.backend.start(world.spec()).url for _ in range(6)]
    assert len(set(urls)) == 6


def test_a_port_in_use_by_another_launch_is_not_given_again(world, monkeypatch):
    run_as(monkeypatch, stand_ins.offered_two_ports)
    assert [world.backend.start(world.spec()).url[-5:] for _ in range(2)] == ["45001", "45002"]


def test_the_log_keeps_its_newest_part_within_its_size(world):
    world.log_bytes = 20_000
    key = world.started("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; touch done; exec sleep 60")
    world.wait_for_file(key, "done")
    wait_until(lambda: "line 4999\n" in world.backend.inspect(key).log_tail)
    log = world.folder(key).log
    kept = [path.read_bytes() for path in (log.with_name("agent.log.1"), log)]
    assert sum(map(len, kept)) <= 20_000
    assert len(b"".join(kept)) > 8192
    assert len(world.backend.inspect(key).log_tail.encode()) > 8000


def test_the_log_tail_has_no_nul_and_no_half_character(world):
    key = world.started(r"i=0; while [ $i -lt 2500 ]; do printf 'ä\000€'; i=$((i+1)); done; touch done; exec sleep 60")
    world.wait_for_file(key, "done")
    wait_until(lambda: len(world.backend.inspect(key).log_tail) > 2500)
    tail = world.backend.inspect(key).log_tail
    assert "\0" not in tail
    assert "\ufffd" not in tail
    assert len(tail.encode()) <= 8192


@pytest.mark.parametrize(
    ("host", "state", "detail"),
    [
        ({"hostname": "elsewhere", "boot_id": "another"}, BackendState.UNKNOWN, "elsewhere"),
        ({"machine_id": "0" * 32, "boot_id": "another"}, BackendState.UNKNOWN, "another host"),
        ({"pid_namespace": "pid:[1]"}, BackendState.UNKNOWN, "another container"),
    ],
)
def test_a_record_of_elsewhere_is_read_for_what_it_can_tell(world, host, state, detail):
    key = world.started()
    rewrite(world, key, **host)
    seen = world.backend.inspect(key)
    assert seen.state is state
    assert detail in seen.detail
    rewrite(world, key, **this_host())


def test_a_record_from_before_the_last_boot_is_missing(world):
    key = world.started()
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    (world.folder(key).path / "exit.json").unlink()
    rewrite(world, key, boot_id="another")
    seen = world.backend.inspect(key)
    assert (seen.state, "booted again" in seen.detail) == (BackendState.MISSING, True)


def test_a_host_that_was_renamed_is_the_same_host(world):
    key = world.started()
    rewrite(world, key, hostname="renamed")
    assert world.backend.inspect(key).state is BackendState.RUNNING


def test_a_launch_of_another_host_is_not_destroyed(world):
    key = world.started()
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    (world.folder(key).path / "exit.json").unlink()
    rewrite(world, key, hostname="elsewhere", boot_id="another")
    assert world.backend.stop(key, timeout_seconds=1).state is BackendState.UNKNOWN
    with pytest.raises(ProvisionerError, match="may still run"):
        world.backend.destroy(key.workspace_id)
    rewrite(world, key, **this_host())
    world.backend.destroy(key.workspace_id)


@pytest.mark.parametrize("host", [{"boot_id": "another"}, {"hostname": "elsewhere", "boot_id": "another"}])
def test_a_record_that_claims_to_be_of_elsewhere_does_not_prevent_the_stop(world, host):
    key = world.started()
    rewrite(world, key, **host)
    assert world.backend.inspect(key).state is BackendState.UNKNOWN
    assert world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS).state is BackendState.EXITED
    assert world.members(key) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"supervisor": [1]}', '{"host": {}, "supervisor": [1, 2], "agent": 5, "port": 1}']
)
def test_a_damaged_record_is_unknown(world, text):
    key = world.started()
    path = world.folder(key).path / "process.json"
    intact = path.read_text()
    path.write_text(text)
    assert world.backend.inspect(key).state is BackendState.UNKNOWN
    path.write_text(intact)


def test_a_launch_prepared_but_never_spawned_is_missing_and_can_be_started(world):
    spec = world.spec()
    world.folder(spec.key).make()
    assert world.backend.inspect(spec.key).state is BackendState.MISSING
    assert world.backend.start(spec).state is BackendState.RUNNING


def test_a_launch_whose_worker_is_at_work_is_unknown(world):
    spec = world.spec()
    folder = world.folder(spec.key)
    folder.make()
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
world = ProcessWorld(Path(sys.argv[1]))
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
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(world.root), str(key.workspace_id), str(key.launch_id)],
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
    wait_until(lambda: world.backend.inspect(key).state is not BackendState.UNKNOWN)
    runs = world.backend.inspect(key).state is BackendState.RUNNING
    assert bool(world.members(key)) == runs


def run_as(monkeypatch, stand_in, *arguments):
    """Let the fork server run a stand-in for the supervisor."""
    monkeypatch.setattr(supervisor, "detach", partial(stand_in, *arguments))


@pytest.fixture
def unrecorded(world, monkeypatch):
    """A launch whose supervisor stands still before it writes its record, and the worker that waits for it."""
    spec = world.spec("touch begun; exec sleep 60")
    run_as(monkeypatch, stand_ins.standing_still, "this_host")
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


def test_an_agent_holds_nothing_of_its_supervisor_but_its_output(world):
    key = world.started()
    # The first thing it does.
    wait_until(lambda: "begins" in world.backend.inspect(key).log_tail)
    opened = [os.readlink(entry) for entry in Path(f"/proc/{world.agent(key).pid}/fd").iterdir()]
    assert not [path for path in opened if str(world.root) in path]
    assert os.readlink(f"/proc/{world.agent(key).pid}/fd/0") == "/dev/null"


def test_a_start_that_takes_too_long_is_given_up_and_leaves_nothing(world, monkeypatch):
    run_as(monkeypatch, stand_ins.not_forking)
    spec = replace(world.spec(), start_timeout_seconds=1)
    with pytest.raises(ProvisionerError, match="longer than 1 s"):
        world.backend.start(spec)
    assert world.members(spec.key) == []
    assert world.backend.inspect(spec.key).state is BackendState.MISSING


@pytest.mark.parametrize("step", ["Log", "listen", "this_host"])
def test_a_supervisor_that_stands_still_after_it_left_the_worker_is_given_up_too(world, monkeypatch, step):
    run_as(monkeypatch, stand_ins.standing_still, step)
    spec = replace(world.spec("touch begun; exec sleep 60"), start_timeout_seconds=1)
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


def test_a_supervisor_is_no_child_of_the_worker_and_leads_a_session(world):
    started = world.supervisor(world.started())
    assert started.ppid() not in {os.getpid(), *(child.pid for child in psutil.Process().children())}
    assert os.getsid(started.pid) == started.pid


def test_a_killed_supervisor_touches_no_other_launch(world):
    first, second = world.started(), world.started()
    kill(world.supervisor(first))
    assert world.backend.stop(first, timeout_seconds=PATIENCE_SECONDS).state is BackendState.EXITED
    assert world.backend.inspect(second).state is BackendState.RUNNING
    assert world.supervisor(second) in world.members(second)


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
    spec = world.spec("touch begun; exec sleep 60")
    with pytest.raises(ProvisionerError, match="fork server ended"):
        world.backend.start(spec)
    assert not (world.folder(spec.key).work / "begun").exists()
    world.backend.start(spec)
    assert fork_server_of_this_process() != server
    assert world.supervisor(spec.key).environ().keys() - UNIMPORTANT == {"PATH"}


def test_a_start_does_not_outlast_its_timeout_while_the_fork_server_is_stopped_and_the_next_gets_another(world):
    world.started()
    server = fork_server_of_this_process()
    server.suspend()
    wait_until(lambda: server.status() == psutil.STATUS_STOPPED)
    with pytest.raises(ProvisionerError, match="fork server ended"):
        world.backend.start(replace(world.spec(), start_timeout_seconds=0.5))
    assert world.backend.inspect(world.started()).state is BackendState.RUNNING


def test_a_child_of_the_worker_that_ended_does_not_disturb_the_fork_server(world):
    world.started()
    child = subprocess.Popen(["true"])
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    kill(fork_server_of_this_process())
    assert world.backend.inspect(world.started()).state is BackendState.RUNNING
    child.wait()


def test_a_fork_that_the_system_refuses_gets_its_sentence(world, monkeypatch):
    run_as(monkeypatch, stand_ins.without_processes)
    with pytest.raises(ProvisionerError, match="could not be started: Resource temporarily unavailable"):
        world.backend.start(world.spec())


def test_supervisor_and_agent_do_not_show_the_workers_or_the_workspaces_environment(world, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    key = world.started(None, MY_SECRET="hunter2", LD_PRELOAD="/nowhere.so")
    for process in (world.supervisor(key), world.agent(key)):
        assert process.environ().keys() - UNIMPORTANT == {"PATH"}


def test_ps_tells_whose_supervisor_and_agent_they_are(world):
    key = world.started()
    for process in (world.supervisor(key), world.agent(key)):
        assert process.name() == key.launch_id.hex[-15:]


def test_supervisor_and_agent_hold_nothing_of_the_fork_server(world):
    key = world.started()
    server = fork_server_of_this_process()
    stop_fork_server()
    assert not is_alive(server)
    assert world.backend.inspect(key).state is BackendState.RUNNING


def test_a_supervisor_that_cannot_write_says_why(world):
    spec = world.spec()
    folder = world.folder(spec.key)
    folder.make()
    (folder.path / "process.json.new").mkdir()
    with pytest.raises(ProvisionerError, match="Is a directory"):
        world.backend.start(spec)
    assert world.members(spec.key) == []


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
    assert world.members(spec.key) == []


def test_a_full_disk_gets_a_sentence(world, monkeypatch):
    run_as(monkeypatch, stand_ins.without_space)
    with pytest.raises(ProvisionerError, match="No space left on device"):
        world.backend.start(world.spec())


def test_a_destroyed_workspace_leaves_no_file_even_read_only_ones(world):
    key = world.started("mkdir -p a/b; touch a/b/c; chmod 500 a/b a; touch done; exec sleep 60")
    world.wait_for_file(key, "done")
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    world.backend.destroy(key.workspace_id)
    assert not (world.root / str(key.workspace_id)).exists()


def test_destroying_a_workspace_follows_no_link_out_of_it(world, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    key = world.started(f"ln -s {outside} link; touch done; exec sleep 60")
    world.wait_for_file(key, "done")
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    world.backend.destroy(key.workspace_id)
    assert (outside / "kept").exists()


def test_only_launches_under_its_own_folder_are_held(world, tmp_path):
    key = world.started()
    elsewhere = ProcessWorld(tmp_path / "elsewhere").backend
    assert (world.backend.running_launches(), elsewhere.running_launches()) == ([key], [])


def test_what_outlives_its_agent_is_held(world):
    key = world.started("setsid sleep 60 & exec sleep 60")
    wait_until(lambda: len(world.members(key)) > 3)
    os.kill(world.agent(key).pid, signal.SIGKILL)
    wait_until(lambda: world.backend.inspect(key).state is BackendState.EXITED)
    assert world.backend.running_launches() == [key]
