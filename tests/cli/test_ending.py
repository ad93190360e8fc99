"""How the command ends if its output goes nowhere, or if it has an error of its own."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from slipway.errors import ExitCode

from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import online
from workspaces.operations import pause

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments, **streams):
    """Run a command in a process of its own, and return its exit code and what it wrote to stderr, if that is kept."""
    environment = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR / "cli")}
    command = [sys.executable, "-m", "slipway", *arguments]
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "timeout": PATIENCE_SECONDS, **streams}
    ended = subprocess.run(command, env=environment, check=False, **streams)
    return ended.returncode, (ended.stderr or b"").decode()


@pytest.fixture
def unread():
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def full():
    """A file that takes nothing."""
    with open("/dev/full", "wb") as file:
        yield file


WRITING = (["ls"], ["ls", "-o", "json"], ["ls", "--watch"], ["profile", "use", "default"], ["--help"])


@pytest.mark.parametrize("arguments", WRITING)
def test_output_that_nobody_reads_ends_the_command_as_a_closed_pipe_ends_others(signed_in, unread, arguments):
    online(name="nightly")
    assert run(*arguments, stdout=unread) == (ExitCode.UNREAD, "")


def test_a_command_that_goes_on_ends_when_nobody_reads_it_any_more(signed_in):
    workspace = online(name="nightly")
    with signed_in.running("ls", "--watch", "-o", "json", stdout=subprocess.PIPE) as watching:
        assert b"online" in watching.process.stdout.readline()
        watching.process.stdout.close()
        pause(workspace.pk)
        assert watching.process.wait(PATIENCE_SECONDS) == ExitCode.UNREAD
        assert watching.errors == ""


def test_a_failure_that_nobody_reads_ends_the_command_alike(signed_in, unread):
    assert run("get", "nothing", stderr=unread) == (ExitCode.UNREAD, "")


@pytest.mark.parametrize("arguments", WRITING)
def test_output_that_can_not_be_written_is_a_sentence(signed_in, full, arguments):
    online(name="nightly")
    code, said = run(*arguments, stdout=full)
    assert (code, said.count("\n")) == (ExitCode.BROKEN, 1), said
    assert "No space left on device" in said


def test_a_failure_whose_sentence_can_not_be_written_keeps_its_exit_code(signed_in, full):
    assert run("get", "nothing", stderr=full) == (ExitCode.NOT_FOUND, "")


@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [
        (["profile", "use", "default"], 1, ExitCode.DONE),
        (["ls", "-o", "json"], 1, ExitCode.DONE),
        (["get", "nothing"], 1, ExitCode.NOT_FOUND),
        (["get", "nothing"], 2, ExitCode.NOT_FOUND),
        (["profile", "use", "nothing"], 2, ExitCode.NOT_FOUND),
        (["secret", "rm", "API_KEY", "--global"], 0, ExitCode.WRONG_ARGUMENT),
    ],
)
def test_a_closed_stream_changes_no_exit_code(signed_in, arguments, closed, code):
    environment = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR / "cli")}
    # As a shell closes it with `>&-`. Nothing that the command opens later may take its place.
    command = ["/bin/sh", "-c", f'exec "$@" {closed}>&-', "sh", sys.executable, "-m", "slipway", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (code, False), ended


def test_an_error_of_the_command_itself_is_a_sentence_and_a_traceback_only_if_asked_for(signed_in, monkeypatch):
    def fail(*arguments, **options):
        raise LookupError("odd \x1b[1m error")

    monkeypatch.setattr("slipway.commands.listing.show_rows", fail)
    said = "slipway can't go on: LookupError: odd  error. With SLIPWAY_DEBUG=1 it shows where.\n"
    assert signed_in("ls") == (ExitCode.BROKEN, "", said)
    monkeypatch.setenv("SLIPWAY_DEBUG", "1")
    with pytest.raises(LookupError):
        signed_in("ls")
