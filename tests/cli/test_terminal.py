"""The command in a terminal: what it asks, and what the shell completes."""

import os
import select
import subprocess
import sys
import time

import pytest
from django.conf import settings

from tests.cli.conftest import new_key
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import online
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


SILENCE_SECONDS = 0.7
NO_KEYRING = "keyring.backends.null.Keyring"
# A child with a terminal of its own, so that Ctrl-C and hidden answers work.
IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def in_terminal(*arguments, after, typed, **variables):
    """Run a command in a terminal, type an answer when it has asked, and return its exit code and the screen."""
    environment = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR / "cli"), "TERM": "xterm", **variables}
    command = [sys.executable, "-c", IN_A_TERMINAL, sys.executable, "-m", "slipway", *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        screen, end = "", time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if select.select([process.stdout], [], [], SILENCE_SECONDS)[0]:
                shown = process.stdout.read(4096)
                if not shown:
                    return process.wait(PATIENCE_SECONDS), screen
                screen += shown.decode()
            elif after in screen:
                # Not at once: what is typed before a hidden question waits for its answer is thrown away.
                process.stdin.write(typed.encode())
        process.kill()
        raise AssertionError(screen)


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 2, 1), ("y\n", 0, 0), ("\n", 2, 1)])
def test_rm_removes_only_after_a_yes(signed_in, answer, code, left):
    workspace = online(name="nightly")
    ended, screen = in_terminal("rm", "nightly", after="?", typed=answer)
    assert f"Remove nightly ({workspace.pk}) for good?" in screen
    assert (ended, Workspace.objects.not_removed().count()) == (code, left)


def test_a_key_is_not_shown_while_it_is_typed(cli, live_server):
    key = new_key()
    code, screen = in_terminal(
        "login",
        live_server.url,
        after="API key",
        typed=f"{key}\n",
        PYTHON_KEYRING_BACKEND=NO_KEYRING,
    )
    assert (code, "Signed in" in screen, key in screen) == (0, True, False)


def test_watching_redraws_the_list_until_ctrl_c(signed_in):
    online(name="nightly")
    code, screen = in_terminal("ls", "--watch", after="nightly", typed="\x03")
    assert (code, "\x1b[" in screen) == (130, True)


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
    assert completed(signed_in, "slipway get nig") == ["nightly", "nightshift"]
    signed_in.patch.setenv("SLIPWAY_CONFIG_DIR", str(signed_in.folder / "nothing"))
    assert completed(signed_in, "slipway get nig") == []
