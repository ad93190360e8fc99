"""`slipway launch` and `--wait`, against a real server. The tests move the launch as its workers would."""

import io
import itertools
import json
import re
import signal
import sys
from urllib.parse import urlsplit

import pytest
import yaml
from django.db import transaction
from rich.console import Console
from rich.live import Live
from slipway import following
from slipway.commands import launching
from slipway.errors import CommandFailed, ExitCode
from slipway.following import LiveSteps

from postgres.clock import database_now
from tests.cli.test_terminal import in_terminal
from tests.cut_proxy import cut_proxy
from tests.journeys.conftest import stack
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, bring_online, online
from workspaces.access.secrets import read_environment
from workspaces.lifecycle.transitions import FailureCode, FailureSource, Phase
from workspaces.models import Workspace
from workspaces.provisioners.base import BackendState, Observation
from workspaces.services.core import launch_records
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.launching.launch import enter_booting

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["stack"]


def move_on(workspace):
    """Launch a queued workspace, up to its boot."""
    now = database_now()
    launching = launch_records.phase_fields(workspace, Phase.LAUNCHING, now=now)
    running = Observation(state=BackendState.RUNNING, url="http://127.0.0.1:4000")
    # Together, so that nobody sees it between the two.
    with transaction.atomic():
        Workspace.objects.filter(pk=workspace.pk).update(**launching)
        enter_booting(workspace_id=workspace.pk, launch_id=workspace.launch_id, observation=running, now=now)
    return Workspace.objects.get(pk=workspace.pk)


def test_waiting_shows_each_step_until_it_is_online(signed_in):
    with signed_in.running("launch", "echo", "--name", "nightly", "--wait") as launching:
        launching.wait_for(lambda run: run.lines == ["  queued"])
        workspace = move_on(Workspace.objects.get())
        launching.wait_for(lambda run: run.lines == ["  queued", "  booting"])
        bring_online(workspace)
        launching.wait_for(lambda run: run.process.poll() == 0)
    assert launching.lines[-1].startswith("nightly is online after ")


def test_waiting_shows_the_steps_that_an_agent_takes_live_in_a_terminal(cli, stack, tmp_path):
    stack.start()
    cli.sign_in(f"http://127.0.0.1:{stack.port}")
    config = {
        "name": "Greeter",
        "runtime": "greeter",
        "runtime_config": {
            "boot": [{"step": "think", "run": "sleep 5"}, {"step": "dress", "run": "sleep 5"}],
            "command": [sys.executable, "-m", "http.server", "0"],
        },
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    code, screen = in_terminal("launch", "--config", tmp_path / "config.yaml", "--wait", after="Greeter is", typed="")
    written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert (code, "Greeter is online after" in written) == (0, True), screen
    # A finished step stays above the one that goes on.
    assert re.findall(r"[✓✗] (booting · \w+)", written) == ["booting · think", "booting · dress"], screen


def test_waiting_goes_on_while_the_server_restarts(signed_in, live_server):
    with cut_proxy(to_port=urlsplit(live_server.url).port) as proxy:
        signed_in.sign_in(f"http://127.0.0.1:{proxy.port}")
        with signed_in.running("launch", "echo", "--name", "nightly", "--wait") as launching:
            launching.wait_for(lambda run: run.lines == ["  queued"])
            proxy.cut()
            launching.wait_for(lambda run: "can't be reached" in run.errors or run.process.poll() is not None)
            bring_online(move_on(Workspace.objects.get()))
            proxy.restore()
            launching.wait_for(lambda run: run.process.poll() is not None)
            assert launching.process.returncode == 0, launching.errors
    assert launching.errors.count("Asking again; the launch goes on.") == 1
    assert launching.lines[-1].startswith("nightly is online after ")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class SlowLaunch:
    """A server whose launch enters its phases at these seconds. It counts how often it is asked."""

    def __init__(self, clock, phases):
        self.clock, self.began, self.phases, self.asked = clock, clock.now, phases, []

    def get(self, path, *, shape):
        second = self.clock.now - self.began
        self.asked.append(second)
        return [row for at, row in self.phases if at <= second][-1]


def row_of(status, phase=""):
    return {"status": status, "phase": phase, "progress_step": ""}


def test_a_long_launch_is_asked_for_ever_less_often_until_something_changes(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(following, "time", clock)
    phases = [(0, row_of("provisioning", "queued")), (600, row_of("provisioning", "booting")), (620, row_of("online"))]
    server, shown = SlowLaunch(clock, phases), []
    assert following.poll(server, "w", show=shown.append) == row_of("online")
    assert shown == ["queued", "booting"]
    # Every half second, that would be 1200 times.
    assert 100 < len(server.asked) < 300
    pauses = [after - before for before, after in itertools.pairwise(server.asked)]
    assert (min(pauses), max(pauses)) == (0.5, 3)
    # At first after a change, and later by a tenth of the time that passed since.
    assert server.asked[-1] - 620 <= 2


def test_waiting_gives_up_on_a_server_that_stays_away_or_that_refuses(monkeypatch):
    for code, shortest, longest in ((ExitCode.UNAVAILABLE, 300, 310), (ExitCode.NOT_ALLOWED, 0, 0)):
        clock = Clock()
        monkeypatch.setattr(following, "time", clock)
        client = SlowLaunch(clock, [])

        def refuse(path, *, shape, code=code):
            raise CommandFailed("No.", code)

        client.get = refuse
        with pytest.raises(CommandFailed) as ended:
            following.poll(client, "w", show=print)
        assert ended.value.exit_code is code
        assert shortest <= clock.now - 1000 <= longest


def test_waiting_ends_with_1_and_the_reason_if_it_fails(signed_in):
    workspace = online(name="nightly")
    with signed_in.running("restart", "nightly", "--wait") as restarting:
        restarting.wait_for(lambda run: "  queued" in run.lines)
        workspace.refresh_from_db()
        reason = FailureReason(
            code=FailureCode.CRASHED,
            source=FailureSource.BOOTSTRAP_WATCHER,
            message="It broke.",
            log_tail="last \x1b[31mwords",
        )
        fail(workspace_id=workspace.pk, launch_id=workspace.launch_id, reason=reason, now=database_now())
        restarting.wait_for(lambda run: run.process.poll() == 1)
    assert restarting.errors.startswith("End of its log:\nlast words\nnightly failed after ")
    assert restarting.errors.endswith("(crashed): It broke.\n")


def test_a_launch_that_fails_leaves_its_last_step_marked_in_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        steps = LiveSteps(live)
        for step in ("queued", "booting · think"):
            steps.show(step)
        steps.end(is_good=False)
    written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert re.findall("[✓✗] .*", written) == ["✓ queued", "✗ booting · think"]


def test_ctrl_c_ends_the_waiting_and_not_the_launch(signed_in):
    with signed_in.running("launch", "echo", "--wait") as launching:
        launching.wait_for(lambda run: run.lines)
        launching.process.send_signal(signal.SIGINT)
        assert launching.process.wait(PATIENCE_SECONDS) == 130
    assert "Stopped waiting; the launch goes on." in launching.errors
    assert Workspace.objects.get().status == "provisioning"


def test_everything_that_is_asked_for_is_sent(signed_in, tmp_path):
    parent = online(name="parent")
    (tmp_path / "config.yaml").write_text("name: From the file\nruntime: echo\n")
    (tmp_path / "env").write_text("ONE=1\n")
    arguments = ["--config", tmp_path / "config.yaml", "--env-file", tmp_path / "env", "--secret", "TWO", "-l", "a=b=c"]
    arguments += ["--role", "lead", "--parent", "par", "--budget-cents", "0", "--timeout", "77"]
    signed_in.ok("create", *arguments, stdin="2\n")
    made = Workspace.objects.get(name="From the file")
    assert (made.parent_id, made.role, made.budget_limit) == (parent.pk, "lead", 0)
    assert (made.provision_timeout_seconds, made.labels) == (77, {"a": "b=c"})
    assert read_environment(made.pk) == {"ONE": "1", "TWO": "2"}


def test_a_name_that_nests_too_deep_is_left_to_the_server():
    parts = [f"- &a0 {'[' * 150}{']' * 150}"]
    parts += [f"- &a{each} {'[' * 150}*a{each - 1}{']' * 150}" for each in range(1, 12)]
    config = "\n".join(["parts:", *parts, "name: *a11"])
    assert launching.name_in(config) == ""


@pytest.mark.parametrize("waiting", [[], ["--wait"]], ids=["not waiting", "waiting"])
def test_an_external_workspace_gets_what_its_owner_needs(signed_in, waiting):
    shown = signed_in.ok("launch", "--external", "--name", "outside", *waiting)
    assert "connection.auth_token" in shown
    created = json.loads(signed_in.ok("launch", "--external", "--name", "other", *waiting, "-o", "json"))
    assert created["connection"]["auth_token"]
    assert [row.is_external for row in Workspace.objects.all()] == [True, True]


def test_a_name_alone_never_hides_what_is_shown_only_once(signed_in):
    ended = signed_in("launch", "--external", "--name", "outside", "-o", "name")
    assert (ended.code, ended.out) == (0, "outside\n")
    again = signed_in("restart", "outside", "-o", "name")
    assert (again.code, again.out) == (0, "outside\n")
    first, second = (re.search(r"auth_token  (slwt_\S+)", each.err)[1] for each in (ended, again))
    assert first != second
    added = signed_in("channel", "add", "webhook", "ops", "--option", "url=https://ops.example/", "-o", "name")
    assert (added.code, added.out) == (0, "ops\n"), added
    assert re.search(r"signing_secret  whsec_\S+", added.err)
    # At another host it gets a new one.
    moved = signed_in("channel", "set", "ops", "--option", "url=https://other.example/", "-o", "name")
    assert (moved.code, moved.out) == (0, "ops\n"), moved
    assert re.search(r"signing_secret  whsec_\S+", moved.err)


@pytest.mark.parametrize("output", ["json", "yaml", "name"])
def test_waiting_leaves_the_answer_for_scripts_as_it_is(signed_in, output):
    with signed_in.running("launch", "echo", "--name", "nightly", "--wait", "-o", output) as launching:
        launching.wait_for(lambda run: "  queued" in run.errors)
        bring_online(move_on(Workspace.objects.get()))
        launching.wait_for(lambda run: run.process.poll() == 0)
        answer = yaml.safe_load("\n".join(launching.lines))
    assert (answer if output == "name" else answer["name"]) == "nightly"
    assert "nightly is online after " in launching.errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "exactly one of them"),
        (["echo", "--external"], "exactly one of them"),
        (["ehco"], "ehco"),
        (["echo", "--label", "x"], "NAME=VALUE"),
        (["echo", "--secret", "EMPTY"], "EMPTY got no value"),
        (["--config", "/nowhere/config.yaml"], "/nowhere/config.yaml can't be read"),
        (["--config", "BINARY"], "can't be read"),
        (["--config", "LARGE"], "has more than 1 MiB"),
        (["--config", "BROKEN"], "YAML"),
        (["--config", "ODD BOOL"], "bool"),
        (["--config", "ODD INT"], "int"),
        (["--config", "ODD TIME"], "timestamp"),
        (["--config", "LONG NAME"], "5002 characters"),
        (["--config", "HALF NAME"], "Unicode"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_created(signed_in, tmp_path, arguments, said):
    files = {"BINARY": b"\xff\xfe", "LARGE": b"#" * (2**20 + 1), "BROKEN": b"name: [\n"}
    files |= {"ODD BOOL": b"a: !!bool maybe", "ODD INT": b"a: !!int ''", "ODD TIME": b"a: !!timestamp x"}
    files |= {"LONG NAME": b"name: 0x" + b"f" * 5000, "HALF NAME": b'name: "\\ud800"'}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    ended = signed_in("launch", *[tmp_path / each if each in files else each for each in arguments])
    assert (ended.code, ended.out, said in ended.err) == (2, "", True), ended
    assert Workspace.objects.count() == 0


@pytest.mark.parametrize(
    ("arguments", "readers"),
    [
        (["--config", "-", "--secret", "ONE"], "--config, --secret"),
        (["--config", "-", "--env-file", "-"], "--config, --env-file"),
        (["echo", "--env-file", "-", "--secret", "ONE", "--secret", "TWO"], "--env-file, --secret"),
    ],
)
def test_two_options_that_read_the_standard_input_are_refused_by_name(signed_in, arguments, readers):
    ended = signed_in("launch", *arguments, stdin="runtime: echo\n")
    assert (ended.code, ended.out) == (2, "")
    assert f"Only one of these can read the standard input: {readers}. Name a file for the others." in ended.err
    assert Workspace.objects.count() == 0


def test_one_option_reads_the_standard_input_beside_files(signed_in, tmp_path):
    (tmp_path / "env").write_text("ONE=1\n")
    signed_in.ok("launch", "--config", "-", "--env-file", tmp_path / "env", stdin="name: piped\nruntime: echo\n")
    assert read_environment(Workspace.objects.get(name="piped").pk) == {"ONE": "1"}


def test_templates_are_listed_with_what_they_need(signed_in):
    assert {"echo", "hermes"} <= set(signed_in.ok("templates", "-o", "name").split())
    assert any(
        line.split() == ["hermes", "hermes", "HERMES_API_KEY"] for line in signed_in.ok("templates").splitlines()
    )
    assert booting(name="unused").pk
