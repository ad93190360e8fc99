"""The process backend with real processes: what survives what, and that nothing is left behind."""

import json
import os
import signal
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml

from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.provisioners.process.process_world import ProcessWorld, kill
from workspaces.provisioners.base import BackendState, ProvisionerError
from workspaces.provisioners.host_processes import find_process, is_alive, session_members, start_time
from workspaces.provisioners.process import provisioner
from workspaces.provisioners.process.folders import this_host
from workspaces.services.watching.evidence import crash_message

GRANDCHILD = "setsid sh -c 'echo $$ >grandchild.new; mv grandchild.new grandchild; exec sleep 600' & exec sleep 600"


def rewrite(world, key, **host):
    """Let the launch's record claim that it was written elsewhere."""
    path = world.folder(key).record
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "host": {**record["host"], **host}}))


def test_a_workspace_gets_its_config_its_token_and_a_clean_environment(world):
    key = world.started("env >seen.new; mv seen.new seen; exec sleep 600", MINE="yes")
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
    first = world.started("touch kept; exec sleep 600")
    world.wait_for_file(first, "kept")
    world.backend.stop(first, timeout_seconds=PATIENCE_SECONDS)
    world.backend.forget(first)
    second = world.spec(workspace_id=first.workspace_id)
    world.backend.start(second)
    assert (world.folder(second.key).work / "kept").exists()


def test_no_zombie_of_a_launch_stays_with_the_worker(world):
    before = psutil.Process().children()
    key = world.started()
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    children = set(psutil.Process().children()) - set(before)
    assert not [child for child in children if child.status() == psutil.STATUS_ZOMBIE]


def test_a_stop_finds_grandchildren_in_sessions_of_their_own(world):
    key = world.started(GRANDCHILD)
    grandchild = world.inside(key, int(world.wait_for_file(key, "grandchild").read_text()))
    assert grandchild in world.members(key)
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert world.members(key) == []
    assert not is_alive(grandchild)


def test_a_stop_finds_what_dropped_its_environment_but_stayed_in_the_session(world):
    key = world.started("env -i /bin/sh -c 'touch bare; sleep 600' & exec sleep 600")
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


def test_a_stopped_agent_process_is_killed_with_all_it_has(world, monkeypatch):
    key = world.started()
    os.kill(world.agent(key).pid, signal.SIGSTOP)
    # Time to record the exit.
    monkeypatch.setattr(provisioner, "QUIT_SECONDS", PATIENCE_SECONDS)
    seen = world.backend.stop(key, timeout_seconds=0.3)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, -signal.SIGKILL)


def test_an_agent_killed_with_sigkill_has_exited_with_that_signal(world):
    key = world.started()
    wait_until(lambda: "begins" in world.backend.inspect(key).log_tail)
    kill(world.agent(key))
    seen = world.backend.inspect(key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, -signal.SIGKILL)
    assert "begins" in seen.log_tail


def test_a_killed_supervisor_does_not_make_its_agent_dead(shared_world):
    key = shared_world.started()
    kill(shared_world.supervisor(key))
    assert shared_world.backend.inspect(key).state is BackendState.RUNNING
    seen = shared_world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, None)
    assert "not known" in seen.detail


def test_supervisor_and_agent_killed_leave_an_exit_without_a_code(shared_world):
    key = shared_world.started()
    kill(shared_world.supervisor(key))
    kill(shared_world.agent(key))
    seen = shared_world.backend.inspect(key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, None)


def test_a_zombie_is_dead(world, monkeypatch):
    # A suspended supervisor records no exit.
    monkeypatch.setattr(provisioner, "EXIT_RECORD_SECONDS", 0.1)
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


def test_the_log_keeps_its_newest_part_within_its_size(world):
    world.log_bytes = 20_000
    key = world.started("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; touch done; exec sleep 600")
    world.wait_for_file(key, "done")
    wait_until(lambda: "line 4999\n" in world.backend.inspect(key).log_tail)
    log = world.folder(key).log
    kept = [path.read_bytes() for path in (log.with_name("agent.log.1"), log)]
    assert sum(map(len, kept)) <= 20_000
    assert len(b"".join(kept)) > 8192
    assert len(world.backend.inspect(key).log_tail.encode()) > 8000


@pytest.mark.parametrize("marker", ["SLIPWAY-BOOTSTRAP-FAILED", r"SLIPWAY-\033[1mBOOTSTRAP\033[0m-FAILED"])
def test_the_crash_marker_is_found_before_400_kilobytes_of_output(world, marker):
    world.log_bytes = 1_048_576
    lines = "head -c 400000 /dev/zero | tr '\\0' '\\n'; echo end"
    key = world.started(f"printf '\\357\\273\\277{marker}: no disk\\n'; {lines}; sleep 600")
    wait_until(lambda: "end\n" in world.backend.inspect(key).log_tail)
    assert crash_message(world.backend.inspect(key).log_tail) == "no disk"


def test_the_log_tail_has_no_nul_and_no_half_character(world):
    key = world.started(r"i=0; while [ $i -lt 2500 ]; do printf 'ä\000€'; i=$((i+1)); done; touch done; exec sleep 600")
    world.wait_for_file(key, "done")
    wait_until(lambda: len(world.backend.inspect(key).log_tail) > 2500)
    tail = world.backend.inspect(key).log_tail
    assert "\0" not in tail
    assert "\ufffd" not in tail


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
    (world.folder(key).exit).unlink()
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
    (world.folder(key).exit).unlink()
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
    path = world.folder(key).record
    intact = path.read_text()
    path.write_text(text)
    assert world.backend.inspect(key).state is BackendState.UNKNOWN
    path.write_text(intact)


def opened_by(process):
    """Return what a process has open."""
    opened = []
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.append(os.readlink(entry))
    return opened


def test_an_agent_holds_nothing_of_its_supervisor_but_its_output(world):
    key = world.started()
    # The first thing it does.
    wait_until(lambda: "begins" in world.backend.inspect(key).log_tail)
    # What it opens itself, as its configuration, it closes again.
    wait_until(lambda: not [path for path in opened_by(world.agent(key)) if str(world.root) in path])
    assert os.readlink(f"/proc/{world.agent(key).pid}/fd/0") == "/dev/null"


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


def test_ps_tells_whose_supervisor_and_agent_they_are(world):
    key = world.started()
    for process in (world.supervisor(key), world.agent(key)):
        assert process.name() == key.launch_id.hex[-15:]


def test_a_destroyed_workspace_leaves_no_file_even_read_only_ones(world):
    key = world.started("mkdir -p a/b; touch a/b/c; chmod 500 a/b a; touch done; exec sleep 600")
    world.wait_for_file(key, "done")
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    world.backend.destroy(key.workspace_id)
    assert not (world.root / str(key.workspace_id)).exists()


def test_destroying_a_workspace_follows_no_link_out_of_it(world, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    key = world.started(f"ln -s {outside} link; touch done; exec sleep 600")
    world.wait_for_file(key, "done")
    world.backend.stop(key, timeout_seconds=PATIENCE_SECONDS)
    world.backend.destroy(key.workspace_id)
    assert (outside / "kept").exists()


def test_only_launches_under_its_own_folder_are_held(world, tmp_path):
    key = world.started()
    elsewhere = ProcessWorld(tmp_path / "elsewhere").backend
    assert (world.backend.running_launches(), elsewhere.running_launches()) == ([key], [])


def test_what_outlives_its_agent_is_held(world):
    key = world.started("setsid sleep 600 & exec sleep 600")
    wait_until(lambda: len(world.members(key)) > 3)
    os.kill(world.agent(key).pid, signal.SIGKILL)
    wait_until(lambda: world.backend.inspect(key).state is BackendState.EXITED)
    assert world.backend.running_launches() == [key]
