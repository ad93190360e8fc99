"""The supervisor restarts children that end, later each time, and stops a child with everything it started."""

import io
import os
import signal
import sys

import psutil
import pytest

from devserver import stale_processes, supervisor
from devserver.console import Console
from devserver.stale_processes import SUPERVISED_FROM, stop_stale_processes
from devserver.supervisor import Child, Supervisor
from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.provisioners.host_processes import is_alive

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)
FAMILY = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(child.pid, flush=True); time.sleep(60)"
)


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def make_child(screen, monkeypatch):
    made = []
    # A killed process ends when the machine has time for that.
    for module in (supervisor, stale_processes):
        monkeypatch.setattr(module, "_KILL_SECONDS", PATIENCE_SECONDS)

    def make(program, *, name="child", **variables):
        command = [sys.executable, "-c", program]
        child = Child(name=name, command=command, environment={**os.environ, **variables}, console=Console(screen))
        made.append(child)
        return child

    yield make
    for child in made:
        child.kill()


def shown(screen, text):
    return wait_until(lambda: text in screen.getvalue())


def test_a_name_precedes_the_lines_of_a_child(make_child, screen):
    make_child("print('hello')", name="web").spawn()
    assert shown(screen, "web     | hello\n")


def test_a_child_that_ends_is_started_again_after_a_delay_and_reported_once(make_child, screen, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(supervisor.time, "monotonic", clock.monotonic)
    child = make_child("import sys; sys.exit(3)")
    keeper = Supervisor(console=Console(screen))
    keeper.start([child])
    first = child.process.pid
    child.process.wait(timeout=PATIENCE_SECONDS)
    keeper.tick()
    keeper.tick()
    assert screen.getvalue() == "child ended with exit code 3; it is started again in 1 s.\n"
    assert child.process.pid == first
    clock.now += 1
    keeper.tick()
    assert child.process.pid != first


def test_the_delay_doubles_up_to_half_a_minute_and_starts_over_after_a_steady_minute(make_child, screen, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(supervisor.time, "monotonic", clock.monotonic)
    child = make_child("pass")
    keeper = Supervisor(console=Console(screen))
    keeper.start([child])

    def delay_after(seconds):
        child.process.wait(timeout=PATIENCE_SECONDS)
        clock.now += seconds
        keeper.tick()
        delay = keeper.watched[0].restart_at - clock.now
        clock.now += delay
        keeper.tick()
        return delay

    assert [delay_after(0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert delay_after(60) == 1


def test_a_child_ended_by_a_signal_is_described_by_its_name(make_child, screen):
    child = make_child("import time; time.sleep(60)")
    keeper = Supervisor(console=Console(screen))
    keeper.start([child])
    child.process.kill()
    child.process.wait(timeout=PATIENCE_SECONDS)
    keeper.tick()
    assert "child was ended by SIGKILL; it is started again in 1 s." in screen.getvalue()


def test_a_child_that_ignores_sigterm_is_killed_when_its_time_is_up(make_child, screen):
    child = make_child(STUBBORN)
    keeper = Supervisor(console=Console(screen))
    keeper.start([child])
    assert shown(screen, "ready")
    keeper.stop([child], seconds=0.3)
    assert child.process.returncode == -signal.SIGKILL


def family(child, screen):
    child.spawn()
    assert shown(screen, "\n")
    return psutil.Process(child.process.pid), psutil.Process(int(screen.getvalue().rpartition("|")[2]))


def test_processes_that_a_child_started_stop_with_it(make_child, screen):
    child = make_child(FAMILY)
    _, grandchild = family(child, screen)
    Supervisor(console=Console(screen)).stop([child], seconds=5)
    assert not is_alive(grandchild)


def test_processes_that_a_dead_child_left_behind_are_killed_before_it_is_started_again(make_child, screen):
    child = make_child(FAMILY)
    _, grandchild = family(child, screen)
    child.process.kill()
    child.process.wait(timeout=PATIENCE_SECONDS)
    assert is_alive(grandchild)
    child.spawn()
    assert not is_alive(grandchild)


def test_a_stopped_child_is_not_started_again(make_child, screen):
    child = make_child("import time; time.sleep(60)")
    keeper = Supervisor(console=Console(screen))
    keeper.start([child])
    keeper.stop([child], seconds=5)
    ended = child.process
    keeper.tick()
    assert child.process is ended
    assert keeper.watched == []


def test_children_of_a_supervisor_that_was_killed_are_found_by_their_folder(make_child, screen, tmp_path):
    ours = make_child(FAMILY, **{SUPERVISED_FROM: str(tmp_path)})
    parent, grandchild = family(ours, screen)
    others = make_child("import time; time.sleep(60)", **{SUPERVISED_FROM: "/elsewhere"})
    others.spawn()
    assert stop_stale_processes(tmp_path) == 2
    assert not is_alive(parent)
    assert not is_alive(grandchild)
    assert not others.has_exited


def test_the_process_of_a_workspace_is_not_stale(make_child, tmp_path):
    workspace = make_child("import time; time.sleep(60)", **{SUPERVISED_FROM: str(tmp_path), "LAUNCH_ID": "x"})
    workspace.spawn()
    assert stop_stale_processes(tmp_path) == 0
    assert not workspace.has_exited


def test_writing_to_a_closed_terminal_raises_nothing():
    terminal = io.StringIO()
    console = Console(terminal)
    terminal.close()
    console.write("into the void")
    assert terminal.closed


def test_a_closed_terminal_is_noticed():
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        console = Console(terminal)
        assert not console.is_terminal_closed
        os.close(ours)
        assert console.is_terminal_closed


def test_output_to_a_file_is_not_a_closed_terminal(screen):
    assert not Console(screen).is_terminal_closed


def test_a_forced_stop_kills_at_once(make_child, screen):
    child = make_child(STUBBORN)
    keeper = Supervisor(console=Console(screen))
    keeper.start([child])
    assert shown(screen, "ready")
    keeper.stop([child], seconds=10 * PATIENCE_SECONDS, is_forced=lambda: True)
    assert child.process.returncode == -signal.SIGKILL
