"""The process backend with real processes: what survives what, and that nothing is left behind."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import yaml

from tests.left_out import FAKETIME
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners.base import BackendState, LaunchKey, Observation, ProvisionerError
from workspaces.provisioners.process import cgroups, locks, processes, provisioner
from workspaces.provisioners.process.folders import this_host

GRANDCHILD = "setsid sh -c 'echo $$ >grandchild.new; mv grandchild.new grandchild; exec sleep 60' & exec sleep 60"


@pytest.fixture(params=["without a cgroup", pytest.param("in a cgroup", marks=pytest.mark.cgroup)])
def world(request, tmp_path):
    made = ProcessWorld(tmp_path / "root", cgroup=cgroups.own() if request.param == "in a cgroup" else None)
    yield made
    made.clean_up()


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(process))


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
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    assert not [pid for pid in children if (seen := processes.stat_of(int(pid))) and seen.state == "Z"]


def test_a_stop_finds_grandchildren_in_sessions_of_their_own(world):
    key = world.started(GRANDCHILD)
    pid = int(world.wait_for_file(key, "grandchild").read_text())
    assert pid in [member.pid for member in world.members(key)]
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert world.members(key) == []
    assert not Path(f"/proc/{pid}").exists() or processes.stat_of(pid).state == "Z"  # type: ignore[union-attr]


def test_a_stop_finds_what_dropped_its_environment_but_stayed_in_the_session(world):
    key = world.started("env -i /bin/sh -c 'touch bare; sleep 60' & exec sleep 60")
    world.wait_for_file(key, "bare")
    in_session = [pid for pid in psutil.pids() if processes.session_of(pid) == world.supervisor(key).pid]
    assert len(in_session) > len(world.members(key))
    kill(world.agent(key))
    world.backend.stop(key, timeout_seconds=2)
    assert not [stat for pid in in_session if (stat := processes.stat_of(pid)) and stat.state != "Z"]


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
    os.kill(world.supervisor(key).pid, signal.SIGSTOP)
    agent = world.agent(key)
    os.kill(agent.pid, signal.SIGKILL)
    wait_until(lambda: (seen := processes.stat_of(agent.pid)) is not None and seen.state == "Z")
    os.kill(agent.pid, 0)
    assert not processes.is_alive(agent)
    assert world.backend.inspect(key).state is BackendState.EXITED
    os.kill(world.supervisor(key).pid, signal.SIGCONT)


def test_a_stop_in_the_first_moments_ends_the_agent_cleanly(world):
    seen = world.backend.stop(world.started(), timeout_seconds=PATIENCE_SECONDS)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, 0)
    assert "Asked to stop" in seen.log_tail


def test_a_pid_given_to_another_process_is_not_taken_for_the_agent(world):
    key = world.started()
    agent = world.agent(key)
    assert processes.is_alive(agent)
    assert not processes.is_alive(agent._replace(started_at=agent.started_at - 1))


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
    started = [pid for member in world.members(spec.key) if _is_supervisor_or_agent(pid := member.pid)]
    assert sorted(started) == sorted([world.supervisor(spec.key).pid, world.agent(spec.key).pid])


def _is_supervisor_or_agent(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[3:4] == [os.fsencode(provisioner.SUPERVISOR)]


def test_launches_at_once_have_different_ports(world):
    urls = [world.backend.start(world.spec()).url for _ in range(6)]
    assert len(set(urls)) == 6


def test_a_port_in_use_by_another_launch_is_not_given_again(world, monkeypatch):
    offers = iter([45_001, 45_001, 45_002])
    monkeypatch.setattr("workspaces.provisioners.process.locks._unbound_port", lambda: next(offers))
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
        ({"boot_id": "another"}, BackendState.MISSING, "booted again"),
        ({"hostname": "elsewhere"}, BackendState.UNKNOWN, "elsewhere"),
        ({"machine_id": "0" * 32}, BackendState.UNKNOWN, "another host"),
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
    rewrite(world, key, **this_host()._asdict())


def test_a_launch_of_another_host_is_neither_signalled_nor_destroyed(world):
    key = world.started()
    rewrite(world, key, hostname="elsewhere")
    assert world.backend.stop(key, timeout_seconds=1).state is BackendState.UNKNOWN
    world.backend.request_stop(key)
    with pytest.raises(ProvisionerError, match="may still run"):
        world.backend.destroy(key.workspace_id)
    rewrite(world, key, **this_host()._asdict())
    assert world.backend.inspect(key).state is BackendState.RUNNING


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
    with locks.locked(folder.lock):
        assert world.backend.inspect(spec.key).state is BackendState.UNKNOWN
    assert world.backend.inspect(spec.key).state is BackendState.MISSING


WORKER = """
import sys, signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners.base import LaunchKey, LaunchSpec
world = ProcessWorld(Path(sys.argv[1]))
spec = world.spec()
spec = LaunchSpec(key=LaunchKey(workspace_id=UUID(sys.argv[2]), launch_id=UUID(sys.argv[3])), config=spec.config,
                  environment=spec.environment, token="t", start_timeout_seconds=60)
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


# A supervisor that stands still at one of its steps.
STANDS_STILL = """
import sys, time
sys.path.insert(0, {folder!r})
import supervisor
del sys.path[0]
supervisor.{step} = lambda *said: time.sleep(60)
supervisor.main(sys.argv[1])
"""


def replace_supervisor(monkeypatch, folder, script):
    path = folder / "supervisor.py"
    path.write_text(script)
    monkeypatch.setattr(provisioner, "SUPERVISOR", path)


@pytest.fixture
def unrecorded(world, monkeypatch, tmp_path):
    """A launch whose supervisor stands still before it writes its record, and the worker that waits for it."""
    spec = world.spec("touch begun; exec sleep 60")
    script = STANDS_STILL.format(folder=str(provisioner.SUPERVISOR.parent), step="write_json")
    replace_supervisor(monkeypatch, tmp_path, script)
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


def test_a_start_that_takes_too_long_is_given_up_and_leaves_nothing(world, monkeypatch, tmp_path):
    replace_supervisor(monkeypatch, tmp_path, "import time\ntime.sleep(60)\n")
    spec = replace(world.spec(), start_timeout_seconds=1)
    with pytest.raises(ProvisionerError, match="longer than 1 s"):
        world.backend.start(spec)
    assert world.members(spec.key) == []
    assert world.backend.inspect(spec.key).state is BackendState.MISSING


@pytest.mark.parametrize("step", ["Log", "listen", "write_json"])
def test_a_supervisor_that_stands_still_after_it_left_the_worker_is_given_up_too(world, monkeypatch, tmp_path, step):
    script = STANDS_STILL.format(folder=str(provisioner.SUPERVISOR.parent), step=step)
    replace_supervisor(monkeypatch, tmp_path, script)
    spec = replace(world.spec("touch begun; exec sleep 60"), start_timeout_seconds=1)
    with pytest.raises(ProvisionerError, match="longer than 1 s"):
        world.backend.start(spec)
    assert world.members(spec.key) == []
    assert not locks.is_locked(world.folder(spec.key).lock)
    assert world.backend.inspect(spec.key).state is BackendState.MISSING
    assert not (world.folder(spec.key).work / "begun").exists()


def test_a_supervisor_that_ends_without_a_word_gets_a_sentence_and_the_next_start_goes_on(world, monkeypatch, tmp_path):
    spec = world.spec()
    with monkeypatch.context() as patched:
        replace_supervisor(patched, tmp_path, "import os\nos.close(0)\n")
        with pytest.raises(ProvisionerError, match="its supervisor was killed"):
            world.backend.start(spec)
    assert world.backend.inspect(spec.key).state is BackendState.MISSING
    assert world.backend.start(spec).state is BackendState.RUNNING


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"work": "/nowhere"}, "[Errno 2] No such file or directory: '/nowhere'"),
    ({"environment": {"A=B": "my-secret"}}, "illegal environment variable name"),
    ({"environment": {"A": "my\0secret"}}, "embedded null byte"),
])  # fmt: skip
def test_what_a_supervisor_cannot_begin_with_it_says_in_a_sentence(tmp_path, changed, complaint):
    task = {"work": "/", "environment": {"LAUNCH_ID": "x"}, "log_bytes": 4096, **changed}
    command = [sys.executable, "-I", "-S", str(provisioner.SUPERVISOR), str(tmp_path)]
    said = subprocess.run(command, input=json.dumps(task), stderr=subprocess.PIPE, text=True, check=True).stderr
    assert said.strip() == complaint


def test_a_task_that_its_worker_did_not_finish_to_say_starts_nothing(tmp_path):
    command = [sys.executable, "-I", "-S", str(provisioner.SUPERVISOR), str(tmp_path)]
    said = subprocess.run(command, input='{"work": "/', stderr=subprocess.PIPE, text=True, check=True).stderr
    assert said.startswith("Unterminated string")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def wrong_clock(world):
    """Let workspaces inherit a clock that is an hour ahead, as one loaded library tells it."""
    world.inherited = {**world.inherited, "LD_PRELOAD": str(FAKETIME), "FAKETIME": "+1h"}


@pytest.mark.faketime
@pytest.mark.usefixtures("wrong_clock")
def test_an_agents_interpreter_is_loaded_with_what_every_workspace_inherits(world):
    began = datetime.now(UTC)
    key = world.started()
    wait_until(lambda: "begins" in world.backend.inspect(key).log_tail)
    told = datetime.fromisoformat(world.backend.inspect(key).log_tail.split()[0])
    assert told > began + timedelta(minutes=59)


def test_a_supervisor_is_no_child_of_the_worker_and_leads_a_session(world):
    supervisor = world.supervisor(world.started())
    assert psutil.Process(supervisor.pid).ppid() != os.getpid()
    assert processes.session_of(supervisor.pid) == supervisor.pid


def test_a_killed_supervisor_touches_no_other_launch(world):
    first, second = world.started(), world.started()
    kill(world.supervisor(first))
    assert world.backend.stop(first, timeout_seconds=PATIENCE_SECONDS).state is BackendState.EXITED
    assert world.backend.inspect(second).state is BackendState.RUNNING
    assert world.supervisor(second) in world.members(second)


def test_a_fork_of_a_worker_starts_launches_too(world):
    world.started()
    forked = world.spec()
    child = os.fork()
    if not child:
        with suppress(BaseException):
            world.backend.start(forked)
        os._exit(0)
    os.waitpid(child, 0)
    assert world.backend.inspect(forked.key).state is BackendState.RUNNING
    assert world.started()


def test_supervisor_and_agent_are_started_without_the_workspaces_own_variables(world):
    key = world.started(None, MY_SECRET="hunter2", LD_PRELOAD="/nowhere.so")
    for process in (world.supervisor(key), world.agent(key)):
        names = psutil.Process(process.pid).environ().keys() - {"LANG", "LC_ALL", "LC_CTYPE"}
        assert names == {"PATH", "LAUNCH_ID", "WORKSPACE_ID", "WORKSPACE_CONFIG_PATH", "CONFIGS_DIR"}


def test_ps_tells_whose_supervisor_and_agent_they_are(world):
    key = world.started()
    for process in (world.supervisor(key), world.agent(key)):
        command = [sys.executable, "-I", "-S", str(provisioner.SUPERVISOR), str(world.folder(key).path)]
        assert psutil.Process(process.pid).cmdline() == command


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
    def refuse(*arguments):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("workspaces.provisioners.process.folders.write_replacing", refuse)
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
    elsewhere = provisioner.ProcessProvisioner(root=tmp_path / "elsewhere", log_bytes=4096, inherited={})
    assert (world.backend.running_launches(), elsewhere.running_launches()) == ([key], [])


def test_what_outlives_its_agent_is_held(world):
    key = world.started("setsid sleep 60 & exec sleep 60")
    wait_until(lambda: len(world.members(key)) > 3)
    os.kill(world.agent(key).pid, signal.SIGKILL)
    wait_until(lambda: world.backend.inspect(key).state is BackendState.EXITED)
    assert world.backend.running_launches() == [key]
