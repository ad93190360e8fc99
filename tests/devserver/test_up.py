"""The start goes from step to step, and a signal stops everything at any moment."""

import io
import os
import signal

import pytest

from devserver import up
from devserver.console import Console
from devserver.up import DevServer, Step


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def run(screen, monkeypatch):
    """Run a server without processes of its own through these steps."""
    monkeypatch.setattr(up, "call_command", lambda *_arguments, **_options: None)
    monkeypatch.setattr(up, "start_steps", lambda **_options: [])
    monkeypatch.setattr(up, "_TICK_SECONDS", 0.001)

    def run_through(*steps):
        server = DevServer(port=1, console=Console(screen), steps=steps, stops_workspaces=False)
        server.workers = server.web_and_events = []
        server.run()

    return run_through


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


STOP = Step(name="stop", action=press_ctrl_c)
FOREVER = {"is_done": lambda: False}


def test_a_step_is_repeated_until_it_is_done_and_the_next_one_begins(run, screen):
    calls = []
    count = Step(name="count", action=lambda: calls.append("count"), is_done=lambda: len(calls) == 3)
    run(count, Step(name="next", action=lambda: calls.append("next")), STOP)
    assert calls == ["count", "count", "count", "next"]
    assert screen.getvalue() == "Stopping. Press Ctrl-C again to stop by force.\nStopped.\n"


def test_a_step_that_takes_too_long_is_reported_and_left(run, screen):
    run(Step(name="wait", **FOREVER, patience_seconds=0, late_message="It is late."), STOP)
    assert screen.getvalue().startswith("It is late.\nStopping.")


def test_a_signal_ends_the_step_that_waits_and_begins_no_other(run, screen):
    begun = []
    run(Step(name="wait", action=press_ctrl_c, **FOREVER), Step(name="next", action=lambda: begun.append("next")))
    assert begun == []
    assert screen.getvalue().endswith("Stopped.\n")


def test_after_a_signal_no_further_step_begins_even_if_the_last_one_is_done(run):
    begun = []
    run(STOP, Step(name="next", action=lambda: begun.append("next")))
    assert begun == []


def test_a_second_signal_ends_a_step_that_hangs(run, screen):
    def hang():
        press_ctrl_c()
        press_ctrl_c()
        raise AssertionError("unreachable")

    run(Step(name="hang", action=hang))
    assert screen.getvalue().endswith("Stopped.\n")


def test_further_signals_do_not_interrupt_the_stop(run, screen, monkeypatch):
    stop = up.Supervisor.stop

    def stop_under_fire(self, children, **options):
        press_ctrl_c()
        press_ctrl_c()
        stop(self, children, **options)

    monkeypatch.setattr(up.Supervisor, "stop", stop_under_fire)
    run(STOP)
    assert screen.getvalue().endswith("Stopped.\n")


def test_a_step_that_fails_stops_everything_before_the_error_is_shown(run, screen):
    def fail():
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        run(Step(name="fail", action=fail))
    assert screen.getvalue().endswith("Stopped.\n")


def test_a_closed_terminal_stops_everything(run, monkeypatch):
    monkeypatch.setattr(Console, "is_terminal_closed", True)
    run(Step(name="wait", **FOREVER))


@pytest.mark.parametrize("name", ["BASE_DIR", "DATA_DIR"])
def test_a_deleted_folder_stops_everything_and_is_named(run, screen, settings, tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    setattr(settings, name, folder)
    run(Step(name="delete", action=folder.rmdir, **FOREVER))
    assert screen.getvalue().startswith(f"{folder} was deleted.\nStopping.")


def test_the_handlers_of_signals_are_put_back(run):
    before = signal.getsignal(signal.SIGINT)
    run(STOP)
    assert signal.getsignal(signal.SIGINT) is before
