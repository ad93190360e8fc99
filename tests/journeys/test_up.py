"""`make up` from an empty machine to an online workspace and back, with real processes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from devserver.stale_processes import SUPERVISED_FROM
from tests import patched
from tests.launch_processes import GETAWAYS, marked, new_mark, processes_of
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.journey
PROJECT = Path(__file__).parents[2]
MANAGE = [sys.executable, str(PROJECT / "manage.py")]
# What a stop has not done after ten seconds, the next start does. Only the soak test says that ten seconds are enough.
PATIENT_STOP = patched.changes(
    {
        "devserver.stop_and_resume._ALL_SECONDS": PATIENCE_SECONDS,
        "devserver.stop_and_resume._FORCED_PAUSE_SECONDS": PATIENCE_SECONDS,
        "devserver.stop_and_resume._REQUEST_SECONDS": PATIENCE_SECONDS,
        "workspaces.provisioners.guarded_calls.AFTER_STOP_SECONDS": PATIENCE_SECONDS,
    }
)


class Up:
    """A running `manage.py up` (or demo) and its output so far."""

    def __init__(self, *arguments, variables, command="up"):
        self.port = free_port()
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.patched", command, "--port", str(self.port), *arguments],
            env=PATIENT_STOP | variables,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self):
        return "".join(self.lines)

    def _read(self):
        self.lines.extend(self.process.stdout)

    def wait_for(self, text):
        # If the process has ended, its last lines may still be unread.
        has_ended = lambda: not self._reader.is_alive()  # noqa: E731
        wait_until(lambda: text in self.output or has_ended(), describe=lambda: self.output)
        assert text in self.output, self.output

    def stop(self, number):
        """Send a signal and return the seconds that the stop took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=2 * PATIENCE_SECONDS)
        return time.monotonic() - began

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(timeout=PATIENCE_SECONDS)
        self.process.stdout.close()


@pytest.fixture
def machine(tmp_path):
    """The environment of a machine without any configuration."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DATA_DIR": str(tmp_path / "data"),
        "WATCH_INTERVAL_SECONDS": "1",
        "HEARTBEAT_INTERVAL_SECONDS": "1",
    }


@pytest.fixture
def up(machine):
    started = []

    def start(*arguments):
        started.append(Up(*arguments, variables=machine))
        return started[-1]

    yield start
    for run in started:
        run.close()


def workspaces(machine):
    result = subprocess.run(
        [*MANAGE, "workspaces", "--format", "json"],
        env=machine,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return json.loads(result.stdout)


def is_online(machine):
    return [workspace["status"] for workspace in workspaces(machine)] == ["online"]


def our_processes(machine):
    """Return the pids of the workspaces, children and servers of this data folder."""
    folder = machine["DATA_DIR"]
    found = agents_of(machine)
    for pid in psutil.pids():
        if environment_of(pid).get(SUPERVISED_FROM) == folder or is_server(pid, folder):
            found.append(pid)
    return found


def wait_until_nothing_is_left(machine):
    """Wait until the processes have ended that were killed last. One that was left out runs on."""
    wait_until(lambda: not our_processes(machine), describe=lambda: list(map(command_of, our_processes(machine))))


def agents_of(machine):
    """Return the pids of the launches of this data folder: supervisors, agents and what these started."""
    launches = [path.name for path in Path(machine["DATA_DIR"]).glob("workspaces/*/launches/*")]
    return [process.pid for launch_id in launches for process in processes_of(launch_id)]


def environment_of(pid):
    try:
        return psutil.Process(pid).environ()
    except psutil.Error:
        # The process has ended meanwhile.
        return {}


def relays(machine):
    return [pid for pid in our_processes(machine) if b"\0relay" in command_of(pid)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        # The process has ended meanwhile.
        return b""


def is_server(pid, folder):
    try:
        return os.readlink(f"/proc/{pid}/cwd").startswith(folder)
    except OSError:
        return False


def test_up_boots_a_first_workspace_stops_everything_and_launches_it_again_at_the_next_start(machine, up):
    first = up()
    first.wait_for("Ctrl-C stops everything.")
    assert re.search(r"Echo: (queued|launching|booting).*Echo: .*online", first.output, re.DOTALL), first.output
    assert len(re.findall(r"User admin, password \S{16} \(shown this once\)", first.output)) == 1
    assert httpx.get(f"http://127.0.0.1:{first.port}/health", timeout=PATIENCE_SECONDS).text == '{"status":"ok"}'
    assert httpx.get(f"http://127.0.0.1:{first.port}/admin/login/", timeout=PATIENCE_SECONDS).status_code == 200
    [created] = workspaces(machine)
    assert created["status"] == "online"

    second = up()
    second.wait_for("already runs at")
    assert second.process.wait(PATIENCE_SECONDS) == 1
    assert f"http://127.0.0.1:{first.port}/admin/ (pid {first.process.pid})" in second.output

    first.stop(signal.SIGINT)
    assert first.process.returncode == 0
    wait_until_nothing_is_left(machine)

    third = up()
    third.wait_for("Ctrl-C stops everything.")
    assert "Launching 1 workspace again" in third.output
    assert "User admin; for a new password" in third.output
    wait_until(lambda: is_online(machine))
    assert [workspace["id"] for workspace in workspaces(machine)] == [created["id"]]
    third.stop(signal.SIGHUP)
    wait_until_nothing_is_left(machine)


def test_after_a_supervisor_was_killed_its_children_are_replaced_and_its_workspace_keeps_running(machine, up):
    killed = up()
    killed.wait_for("Ctrl-C stops everything.")
    [before] = workspaces(machine)
    agents, reported = set(agents_of(machine)), last_heartbeat(machine)
    assert agents
    killed.process.kill()
    killed.process.wait()
    # The stale web server still listens on the same port.
    again = Up("--port", str(killed.port), variables=machine)
    try:
        again.wait_for("Ctrl-C stops everything.")
        assert "The last run did not end cleanly" in again.output
        assert agents <= set(our_processes(machine))
        [after] = workspaces(machine)
        assert (after["id"], after["status"]) == (before["id"], "online")
        wait_until(lambda: last_heartbeat(machine) > reported)
        again.stop(signal.SIGTERM)
    finally:
        again.close()
    wait_until_nothing_is_left(machine)


def test_agents_report_to_a_process_of_their_own_while_the_web_process_stands_still(machine, up):
    run = up()
    run.wait_for("Ctrl-C stops everything.")
    before = last_heartbeat(machine)
    web = [psutil.Process(pid) for pid in our_processes(machine) if f"\0{run.port}\0".encode() in command_of(pid)]
    web += [child for process in web for child in process.children(recursive=True)]
    assert len(web) >= 2
    for process in web:
        process.suspend()
    try:
        wait_until(lambda: last_heartbeat(machine) > before)
    finally:
        for process in web:
            process.resume()


def last_heartbeat(machine):
    code = "from workspaces.models import Heartbeat; print(Heartbeat.objects.get().last_heartbeat_at)"
    command = [*MANAGE, "shell", "--no-imports", "-c", code]
    return subprocess.run(command, env=machine, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def test_up_with_no_resume_leaves_paused_workspaces_paused(machine, up):
    first = up()
    first.wait_for("Ctrl-C stops everything.")
    first.stop(signal.SIGINT)
    second = up("--no-resume")
    second.wait_for("Ctrl-C stops everything.")
    assert [workspace["status"] for workspace in workspaces(machine)] == ["paused"]


def test_a_workspace_that_a_command_launches_beside_up_reports_to_that_up(machine, up):
    run = up("--no-first-workspace")
    run.wait_for("Ctrl-C stops everything.")
    launched = subprocess.run(
        [*MANAGE, "launch", "echo", "--wait"],
        env=machine,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert f"http://127.0.0.1:{run.port}/admin/" in launched.stdout


def test_a_child_that_was_killed_is_started_again(machine, up):
    run = up("--no-first-workspace")
    run.wait_for("Ctrl-C stops everything.")
    assert workspaces(machine) == []
    [killed] = relays(machine)
    os.kill(killed, signal.SIGKILL)
    run.wait_for("relay was ended by SIGKILL; it is started again in 1 s.")
    wait_until(lambda: set(relays(machine)) - {killed})


LAUNCH_HOSTILE_AGENT = """
from workspaces import tasks
from postgres.clock import database_now
from workspaces.services.launching import create
config = "name: x\\nruntime: echo\\nruntime_config: {{command: [{python}, {program}, {how}, '{mark}']}}\\n"
workspace = create.create(create.CreateRequest(config=config), now=database_now()).workspace
tasks.enqueue_launches(workspace.backend, now=database_now())
"""


@pytest.mark.parametrize(("namespaces", "cgroup"), [("true", "own"), ("false", "own"), ("false", "none")])
def test_ctrl_c_leaves_nothing_of_an_agent_that_gets_away(machine, up, namespaces, cgroup):
    machine |= {"AGENT_NAMESPACES": namespaces, "AGENT_CGROUP": cgroup}
    run = up("--no-first-workspace")
    run.wait_for("Ctrl-C stops everything.")
    assert ("Workspaces get no pid namespace" in run.output) == (namespaces == "false")
    marks = {how: new_mark() for how in ("clears its environment", "forks itself every 2 ms")}
    for how, mark in marks.items():
        code = LAUNCH_HOSTILE_AGENT.format(python=sys.executable, program=GETAWAYS, how=how, mark=mark)
        command = [*MANAGE, "shell", "-v0", "-c", code]
        subprocess.run(command, env=machine, cwd=PROJECT, timeout=PATIENCE_SECONDS, check=True)
    folder = Path(machine["DATA_DIR"])
    wait_until(lambda: len(list(folder.glob("workspaces/*/work/away"))) == 2)
    wait_until(lambda: all(map(marked, marks.values())))
    run.stop(signal.SIGINT)
    wait_until_nothing_is_left(machine)
    assert [how for how, mark in marks.items() if marked(mark)] == []


LAUNCH_TWENTY = """
from workspaces import tasks
from postgres.clock import database_now
from workspaces.services.launching import create
for number in range(20):
    request = create.CreateRequest(template="echo", name=f"echo {number}")
    workspace = create.create(request, now=database_now()).workspace
    tasks.enqueue_launches(workspace.backend, now=database_now())
"""


@pytest.mark.soak
def test_a_stop_with_twenty_workspaces_takes_less_than_ten_seconds_and_leaves_nothing(machine, up):
    run = up("--no-first-workspace")
    run.wait_for("Ctrl-C stops everything.")
    subprocess.run([*MANAGE, "shell", "-v0", "-c", LAUNCH_TWENTY], env=machine, cwd=PROJECT, timeout=60, check=True)
    all_online = ["online"] * 20
    wait_until(lambda: [row["status"] for row in workspaces(machine)] == all_online)
    assert run.stop(signal.SIGINT) < 10
    wait_until_nothing_is_left(machine)


def test_a_second_ctrl_c_forces_the_stop_and_still_leaves_nothing(machine, up):
    run = up()
    run.wait_for("Ctrl-C stops everything.")
    run.process.send_signal(signal.SIGINT)
    run.wait_for("Press Ctrl-C again")
    run.stop(signal.SIGINT)
    assert run.process.returncode == 0
    wait_until_nothing_is_left(machine)
