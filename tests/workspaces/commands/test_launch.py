"""`manage.py launch`: which arguments it refuses, and how it follows a launch."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import connection

from postgres.clock import database_now
from tests.journeys.stack import Stack
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces import factories
from workspaces.access import secrets
from workspaces.lifecycle.transitions import FailureCode, FailureSource, WorkspaceStatus
from workspaces.management.launch_progress import follow_launch
from workspaces.models import Workspace
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.stopping.remove import remove
from workspaces.workers import LAUNCH_QUEUE, NoWorker, require_worker

CONFIG = "name: mine\nruntime: echo\n"


def launch(*arguments):
    out = io.StringIO()
    call_command("launch", *arguments, stdout=out)
    return out.getvalue()


def refusal_of(*arguments):
    """Return why the command created nothing."""
    with pytest.raises(CommandError) as refused:
        launch(*arguments)
    assert refused.value.returncode == 2
    assert not Workspace.objects.exists()
    return str(refused.value)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(CONFIG)
    return path


# --- Refusals ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_launch_without_arguments_lists_the_templates():
    assert launch().startswith("Templates: ")
    assert "echo" in launch()
    assert not Workspace.objects.exists()


@pytest.mark.django_db
def test_launch_needs_a_template_or_a_file(config):
    some = [("--name", "mine"), ("",), ("--name", ""), ("--wait",), ("--env-file", str(config)), ("--restart", "never")]
    for arguments in some:
        assert refusal_of(*arguments).startswith("Give a template or --config FILE, and neither was given. Templates: ")
    assert "not both" in refusal_of("echo", "--config", str(config))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "can't be read: No such file"),
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"x" * 300_000, "256 KiB"),
    ],
)
def test_launch_refuses_an_unreadable_config(tmp_path, content, why):
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_bytes(content)
    assert why in refusal_of("--config", str(path))


@pytest.mark.django_db
def test_launch_refuses_a_folder_as_a_file(tmp_path):
    assert "Is a directory" in refusal_of("--config", str(tmp_path))


@pytest.mark.django_db
@pytest.mark.parametrize("option", ["--secret", "--secret-file"])
@pytest.mark.parametrize("secret", ["s3cr3t-key", "=s3cr3t", "1A=s3cr3t", "s3cr3t-key=s3cr3t"])
def test_launch_refuses_a_bad_secret_without_repeating_it(option, secret):
    why = refusal_of("echo", option, "OK=/dev/null", option, secret, option, "2=s3cr3t")
    assert f"{option} number 2" in why
    assert f"{option} number 3" in why
    assert "s3cr3t" not in why


@pytest.mark.django_db
def test_launch_names_every_problem_of_its_secrets_and_asks_for_none(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("must not be read\n"))
    why = refusal_of("echo", "--secret", "ASKED", "--secret-file", f"A={tmp_path}/none", "--secret", "1=x")
    assert "none can't be read" in why
    assert "--secret number 2" in why
    assert sys.stdin.readline() == "must not be read\n"


@pytest.mark.django_db
@pytest.mark.parametrize(("given", "why"), [("", "input ended before the value of A"), ("\n", "value of A is empty")])
def test_launch_refuses_a_secret_that_was_not_entered(monkeypatch, given, why):
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    assert why in refusal_of("echo", "--secret", "A")


@pytest.mark.django_db
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
@pytest.mark.parametrize("given", [b"\xff\xfe\n", b"s3cr3t\xe9\n"])
def test_launch_refuses_an_entered_secret_that_is_not_utf_8_without_repeating_it(monkeypatch, given, errors):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8", errors=errors))
    assert refusal_of("echo", "--secret", "KK") == "The value of KK is not UTF-8 text."


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (["ech\udcff"], "template"),
        (["echo", "--name", "\udcff"], "name"),
        (["echo", "--model", "a\udcff"], "model"),
        (["echo", "--secret", "A=1", "--secret", "K=s3cr3t\udcff"], "secret"),
        (["echo", "--secret-file", "K=s3cr3t\udcff"], "secret_file"),
    ],
)
def test_launch_refuses_an_argument_that_is_not_utf_8_without_repeating_it(arguments, argument):
    assert refusal_of(*arguments) == f"The argument {argument} is not UTF-8 text."


@pytest.mark.django_db
@pytest.mark.parametrize("option", ["--config", "--env-file"])
def test_the_path_of_a_file_need_not_be_utf_8(tmp_path, config, option):
    path = tmp_path / "\udcff"
    arguments = (option, str(path)) if option == "--config" else ("--config", str(config), option, str(path))
    assert "can't be read: No such file" in refusal_of(*arguments)
    path.write_text("A=1" if option == "--env-file" else CONFIG)
    assert "No launch worker is alive" in refusal_of(*arguments)


@pytest.mark.django_db
def test_launch_names_the_line_of_a_bad_env_file_without_repeating_it(tmp_path):
    path = tmp_path / "secrets.env"
    path.write_text("# comment\nGOOD=1\n\ns3cr3t\n")
    why = refusal_of("echo", "--env-file", str(path))
    assert "Line 4" in why
    assert "s3cr3t" not in why


@pytest.mark.django_db
def test_launch_is_refused_without_a_launch_worker(config):
    assert "No launch worker is alive. Start one with `make up`" in refusal_of("--config", str(config))


# --- With real children --------------------------------------------------------------------------


@pytest.fixture
def stack(child_environment):
    stack = Stack(child_environment)
    yield stack
    stack.stop()


def start_worker(stack):
    """Start the launch worker and wait until it answers: commands ask it once and refuse to launch without it."""

    def answers():
        with suppress(NoWorker):
            require_worker(LAUNCH_QUEUE)
            return True
        return False

    stack.start("launch")
    wait_until(answers, describe=lambda: stack.output)


@contextmanager
def running(stack, *arguments, **streams):
    """Run a manage.py command during the block; kill it if it still runs then."""
    command = [sys.executable, "manage.py", *arguments]
    with subprocess.Popen(command, env=stack.environment, cwd=settings.BASE_DIR, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.journey
@pytest.mark.django_db(transaction=True)
def test_launch_is_refused_without_a_broker(stack):
    refused = stack.command("launch", "echo", REDIS_URL="redis://127.0.0.1:1/0")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Redis does not answer" in refused.stderr
    assert not Workspace.objects.exists()


@pytest.mark.journey
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("arguments", "given", "name"),
    [
        (["launch", "echo", "--secret", "KK"], b"\xff\xfe\n", "value of KK"),
        (["launch", "echo", "--name", b"\xff"], b"", "argument name"),
        (["pause", b"\xff"], b"", "argument workspaces"),
        (["api_key", "create", b"\xff", "--scope", "read"], b"", "argument name"),
    ],
)
def test_bytes_that_are_not_utf_8_end_a_command_with_a_sentence_and_exit_code_2(stack, arguments, given, name):
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
    refused = subprocess.run(command, env=stack.environment, input=given, capture_output=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert refused.stderr.decode().endswith(f"The {name} is not UTF-8 text.\n")
    assert "Traceback" not in refused.stderr.decode()


@pytest.mark.journey
@pytest.mark.django_db(transaction=True)
def test_launch_creates_a_workspace_and_prints_its_address(stack, tmp_path):
    start_worker(stack)
    env_file = tmp_path / "secrets.env"
    env_file.write_text("export FIRST='one'\nSECOND=two\n")
    arguments = ["--env-file", str(env_file), "--secret", "SECOND=zwei", "--name", "mine", "--timeout", "120"]
    arguments += ["--hibernate-after", "30", "--restart", "never"]

    done = stack.command("launch", "echo", *arguments)

    assert done.returncode == 0, done.stderr
    assert "Warning: the list of processes shows the value of SECOND to everybody" in done.stderr
    assert "zwei" not in done.stderr
    workspace = Workspace.objects.get()
    assert f"Launching 1 workspace: mine ({workspace.pk}), http://" in done.stdout
    assert f"/admin/workspaces/workspace/{workspace.pk}/change/" in done.stdout
    assert secrets.read_environment(workspace.pk) == {"FIRST": "one", "SECOND": "zwei"}
    assert workspace.provision_timeout_seconds == 120
    assert (workspace.hibernation_idle_minutes, workspace.restart_policy) == (30, "never")


@pytest.mark.journey
@pytest.mark.django_db(transaction=True)
def test_a_secret_that_is_entered_or_read_from_a_file_is_never_seen_in_the_list_of_processes(stack, tmp_path):
    start_worker(stack)
    key_file = tmp_path / "key"
    key_file.write_text("two\nlines\n")
    ours, theirs = pty.openpty()
    arguments = ["launch", "echo", "--secret", "ENTERED", "--secret-file", f"READ={key_file}"]
    streams = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": theirs}
    with running(stack, *arguments, **streams, start_new_session=True) as asking:
        os.close(theirs)
        shown = os.read(ours, 1000)
        while b"Value of ENTERED" not in shown:
            shown += os.read(ours, 1000)
        arguments_shown = Path(f"/proc/{asking.pid}/cmdline").read_bytes()
        os.write(ours, b"s3cr3t\n")
        asking.communicate(timeout=PATIENCE_SECONDS)
    with suppress(OSError):
        shown += os.read(ours, 1000)
    os.close(ours)

    assert asking.returncode == 0
    assert b"s3cr3t" not in shown + arguments_shown
    assert b"Warning" not in shown
    assert secrets.read_environment(Workspace.objects.get().pk) == {"ENTERED": "s3cr3t", "READ": "two\nlines"}


@pytest.mark.journey
@pytest.mark.django_db(transaction=True)
def test_ctrl_d_in_place_of_a_secret_is_refused_in_a_sentence(stack):
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": theirs}
    with running(stack, "launch", "echo", "--secret", "ENTERED", **streams, start_new_session=True) as asking:
        os.close(theirs)
        shown = os.read(ours, 1000)
        while b"Value of ENTERED" not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, b"\x04")
        asking.communicate(timeout=PATIENCE_SECONDS)
    with suppress(OSError):
        while part := os.read(ours, 1000):
            shown += part
    os.close(ours)
    assert b"The standard input ended before the value of ENTERED." in shown
    assert b"Traceback" not in shown
    assert (asking.returncode, Workspace.objects.count()) == (2, 0)


@pytest.mark.journey
@pytest.mark.django_db(transaction=True)
def test_ctrl_c_leaves_the_launch_going(stack):
    start_worker(stack)
    with running(
        stack, "launch", "echo", "--wait", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:

        def describe():
            waiting.kill()
            return "\n".join([*waiting.communicate(), stack.output])

        wait_until(Workspace.objects.exists, describe=describe)
        # It keeps booting, because no web server answers its agent.
        wait_until(lambda: Workspace.objects.filter(phase="booting").exists(), describe=describe)
        assert any(line.startswith("booting (") for line in waiting.stdout)
        waiting.send_signal(signal.SIGINT)
        _, complaint = waiting.communicate(timeout=PATIENCE_SECONDS)

    assert waiting.returncode == 130
    assert "the launch goes on" in complaint
    assert Workspace.objects.get().status == WorkspaceStatus.PROVISIONING


# --- Following -----------------------------------------------------------------------------------


def follow_while(workspace, *, happens):
    """Follow a launch until `happens` ends it. Return the result and the output."""
    out = io.StringIO()

    def end_it():
        try:
            wait_until(out.getvalue)
            happens()
        finally:
            connection.close()

    thread = threading.Thread(target=end_it)
    thread.start()
    result = follow_launch(workspace.pk, out=OutputWrapper(out))
    thread.join()
    return result, out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_following_ends_when_it_is_online():
    workspace = factories.booting(name="mine")

    result, shown = follow_while(workspace, happens=lambda: factories.bring_online(workspace))

    assert result.is_online
    assert result.text.startswith("mine is online after ")
    assert re.match(r"booting \(\d+ s, deadline in (10|[1-9]) min", shown)


@pytest.mark.django_db(transaction=True)
def test_following_ends_with_the_failure_and_the_end_of_the_log():
    workspace = factories.booting(name="mine")
    reason = FailureReason(
        code=FailureCode.CRASHED,
        source=FailureSource.AGENT,
        message="It broke.",
        log_tail="\x1b[31mlast words\x1b[0m",
    )

    result, _ = follow_while(
        workspace,
        happens=lambda: fail(
            workspace_id=workspace.pk, launch_id=workspace.launch_id, reason=reason, now=database_now()
        ),
    )

    assert not result.is_online
    assert "(crashed): It broke.\nEnd of its log:\nlast words" in result.text


@pytest.mark.django_db(transaction=True)
def test_following_ends_when_it_is_removed():
    workspace = factories.booting(name="mine")

    result, _ = follow_while(
        workspace, happens=lambda: remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
    )

    assert (result.is_online, result.text) == (False, "mine is removed now: its launch was ended.")
