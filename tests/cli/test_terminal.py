"""The command in a terminal: what it asks, and what the shell completes."""

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import slipway
from django.conf import settings
from slipway.app import app
from slipway.output import Format
from typer.main import get_command

from tests.cli.conftest import new_key
from tests.cut_proxy import cut_proxy
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import failed, online
from workspaces.models import Secret, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


NO_KEYRING = "keyring.backends.null.Keyring"
# Ctrl-C and hidden answers need a terminal.
IN_A_TERMINAL = Path(__file__).with_name("in_terminal.py")


def in_terminal(*arguments, after, typed, is_hidden=False, out=None, **variables):
    """Run a command in a terminal, type an answer when it has asked, and return its exit code and the screen.

    With `out` its output goes to this file instead.
    """
    environment = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR / "cli"), "TERM": "xterm", **variables}
    environment |= {"HIDDEN": "yes"} if is_hidden else {}
    elsewhere = ["/bin/sh", "-c", 'exec "$@" > "$0"', str(out)] if out else []
    slipway_command = [sys.executable, "-m", "slipway", *map(str, arguments)]
    command = [sys.executable, IN_A_TERMINAL, after, typed, *elsewhere, *slipway_command]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    return ended.returncode, ended.stdout.decode()


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 2, 1), ("y\n", 0, 0), ("\n", 2, 1)])
def test_rm_removes_only_after_a_yes(signed_in, answer, code, left):
    workspace = online(name="nightly")
    ended, screen = in_terminal("rm", "nightly", after="?", typed=answer)
    assert f"Remove nightly ({workspace.pk}) for good?" in screen
    assert (ended, Workspace.objects.not_removed().count()) == (code, left)


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 2, 1), ("y\n", 0, 0)])
@pytest.mark.parametrize("command", [["rm", "API_KEY", "--set", "team"], ["rm-set", "team"]])
def test_secrets_are_deleted_only_after_a_yes(signed_in, command, answer, code, left):
    signed_in.ok("secret", "set", "API_KEY", "--set", "team", stdin="value")
    ended, screen = in_terminal("secret", *command, after="?", typed=answer)
    assert "Delete the se" in screen
    assert ("Nothing was deleted." in screen) == (code == 2)
    assert (ended, Secret.objects.count()) == (code, left)


def test_a_question_is_seen_and_kept_out_of_what_a_script_reads(signed_in, tmp_path):
    out, place = tmp_path / "out", ("--global", "-o", "json")
    code, screen = in_terminal(
        "secret", "set", "API_KEY", *place, after="API_KEY: ", typed="v\n", is_hidden=True, out=out
    )
    assert (code, "API_KEY: " in screen, json.loads(out.read_text())) == (0, True, [{"name": "API_KEY"}])
    assert out.read_text().startswith("[")
    code, screen = in_terminal("secret", "rm", "API_KEY", *place, after="[y/N]: ", typed="y\n", out=out)
    assert (code, "[y/N]: " in screen, json.loads(out.read_text())) == (0, True, [{"name": "API_KEY"}])
    assert out.read_text().startswith("[")


def test_the_question_for_a_key_is_seen_if_the_output_goes_elsewhere(cli, live_server, tmp_path):
    options = {"after": "API key: ", "typed": f"{new_key()}\n", "is_hidden": True, "out": tmp_path / "out"}
    code, screen = in_terminal("login", live_server.url, **options, PYTHON_KEYRING_BACKEND=NO_KEYRING)
    assert (code, "API key: " in screen) == (0, True)
    assert (tmp_path / "out").read_text().startswith("Signed in to ")


ASKING = {
    "a removal": (["rm", "nightly"], "?", "Nothing was removed."),
    "a secret": (["secret", "set", "API_KEY", "--global"], "API_KEY", "API_KEY got no value."),
    "a key": (["login", "http://127.0.0.1:1"], "API key", "none was given."),
}


@pytest.mark.parametrize(("typed", "code"), [("\x03", 130), ("\x04", 2)])
@pytest.mark.parametrize(("arguments", "question", "said"), ASKING.values(), ids=ASKING)
def test_a_question_is_left_with_130_by_ctrl_c_and_with_a_sentence_by_ctrl_d(
    signed_in, arguments, question, said, typed, code
):
    online(name="nightly")
    is_hidden = question != "?"
    ended, screen = in_terminal(*arguments, after=question, typed=typed, is_hidden=is_hidden)
    assert (ended, "Aborted" in screen, said in screen) == (code, False, code == 2), screen
    assert (Workspace.objects.not_removed().count(), Secret.objects.count()) == (1, 0)


def test_the_version_is_the_package_s(cli):
    project = tomllib.loads((settings.BASE_DIR / "cli" / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "slipway/__init__.py"
    assert cli.ok("--version") == f"slipway {slipway.__version__}\n"


def test_a_key_is_not_shown_while_it_is_typed(cli, live_server):
    key = new_key()
    code, screen = in_terminal(
        "login",
        live_server.url,
        after="API key",
        typed=f"{key}\n",
        is_hidden=True,
        PYTHON_KEYRING_BACKEND=NO_KEYRING,
    )
    assert (code, "Signed in" in screen, key in screen) == (0, True, False)


def test_watching_redraws_the_list_until_ctrl_c(signed_in):
    online(name="nightly")
    code, screen = in_terminal("ls", "--watch", after="nightly", typed="\x03")
    assert (code, "\x1b[" in screen) == (130, True)


@pytest.mark.parametrize(("arguments", "typed", "end"), [(["ls"], "", 0), (["ls", "--watch"], "\x03", 130)])
def test_a_long_failure_takes_no_place_in_a_terminal(signed_in, arguments, typed, end):
    workspace = failed(name="nightly-import")
    Workspace.objects.filter(pk=workspace.pk).update(failure_message="Missing required environment variable. " * 5)
    code, screen = in_terminal(*arguments, after="crashed", typed=typed, COLUMNS="80")
    line = next(line for line in screen.splitlines() if "crashed" in line)
    assert [each in line for each in ("nightly-import", "failed", "echo", str(workspace.pk)[:8])] == [True] * 4
    assert code == end


@contextmanager
def following_in_terminal(*arguments):
    """Run a command in a terminal of its own that goes on. Gives a function that returns the screen so far."""
    environment = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR / "cli"), "TERM": "xterm", "COLUMNS": "200"}
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    command = [sys.executable, "-m", "slipway", *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    written = bytearray()

    def screen():
        with suppress(BlockingIOError):
            written.extend(os.read(ours, 2**16))
        return written.decode(errors="replace")

    try:
        yield screen
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("arguments", "before"), [(["ls", "--watch"], "nightly"), (["launch", "echo", "--wait"], "queued")]
)
def test_an_interruption_is_told_on_a_line_of_its_own_above_what_is_redrawn(signed_in, live_server, arguments, before):
    online(name="nightly")
    with cut_proxy(to_port=urlsplit(live_server.url).port) as proxy:
        signed_in.sign_in(f"http://127.0.0.1:{proxy.port}")
        with following_in_terminal(*arguments) as screen:
            wait_until(lambda: before in screen())
            proxy.cut()
            wait_until(lambda: "Asking again" in screen())
            # Rich erases what it draws again, line by line, before it writes a line above it.
            assert re.search(r"\x1b\[2K(\x1b\[0m)?http://127\.0\.0\.1:\d+ can't be reached", screen()), screen()


def completed(cli, words, **variables):
    """Return what the shell offers for the last word."""
    for name, value in {"_SLIPWAY_COMPLETE": "complete_bash", "COMP_WORDS": words, **variables}.items():
        cli.patch.setenv(name, value)
    cli.patch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    return cli().out.split()


def test_the_shell_completes_names_of_commands_and_of_workspaces(signed_in):
    for name in ("nightly", "nightshift", "day", "night$(reboot)", "night `x`"):
        online(name=name)
    assert completed(signed_in, "slipway hib") == ["hibernate"]
    assert not {"slipway", slipway.__version__} & set(completed(signed_in, "slipway --version "))
    assert completed(signed_in, "slipway get nig") == ["nightly", "nightshift"]
    signed_in.patch.setenv("SLIPWAY_CONFIG_DIR", str(signed_in.folder / "nothing"))
    assert completed(signed_in, "slipway get nig") == []


# They answer nothing that a script reads; a log is text.
WITHOUT_OUTPUT = {"login", "logout", "profile use", "logs", "top"}


def commands(group, above=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} ")
        else:
            yield f"{above}{name}", command


def test_each_command_shows_its_answer_in_each_format():
    formats = {}
    for name, command in commands(get_command(app)):
        choices = [set(each.type.choices) for each in command.params if "-o" in each.opts]
        formats[name] = {getattr(each, "value", each) for each in choices[0]} if choices else set()
    assert {name for name, found in formats.items() if not found} == WITHOUT_OUTPUT
    assert {name for name, found in formats.items() if found and not found >= set(Format)} == set()
