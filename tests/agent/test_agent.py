"""The agent as a real process, against a platform with prepared answers."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.agent.platform_stub import running_platform
from tests.launch_processes import processes_of
from tests.waiting import PATIENCE_SECONDS, wait_until

AGENT = Path(__file__).parent.parent.parent / "agent"
TOKEN = "token-that-nobody-may-see"
SECRET = "secret-that-nobody-may-see"
# Longer than a test waits for anything.
NAP = "exec sleep 600"
# Starts the agent with limits that are longer than a test waits, so that a test fails if the agent waits for them.
WITHOUT_LIMITS = f"""
import os, sys
sys.path.insert(0, {str(AGENT.parent)!r})
from agent import child, client, supervisor
child.END_SECONDS = client.TIMEOUT_SECONDS = 600
sys.exit(supervisor.main(os.environ))
"""


class Run:
    """One agent process with its config folder; `launch_id` is its own."""

    def __init__(self, folder, launch_id):
        self.folder = folder
        self.launch_id = launch_id
        self.log = folder / "log"
        self.process = None

    def start(self, config, *, platform_url, program=(str(AGENT),), **environment):
        (self.folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", *program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(platform_url) | environment,
            )
        return self

    def ended(self):
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def terminate(self):
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def environment(self, platform_url):
        return {
            "PATH": os.environ["PATH"],
            "WORKSPACE_ID": "w-1",
            "LAUNCH_ID": self.launch_id,
            "WORKSPACE_CONFIG_PATH": str(self.folder),
            "PLATFORM_URL": platform_url,
            "WORKSPACE_TOKEN": TOKEN,
            "PORT": "4711",
            "HEARTBEAT_INTERVAL_SECONDS": "0.1",
            "API_KEY": SECRET,
        }


@pytest.fixture
def platform():
    with running_platform() as stub:
        yield stub


@pytest.fixture
def agent(tmp_path):
    run = Run(tmp_path, launch_id=f"agent-test-{uuid4()}")
    yield run
    try:
        if run.process is not None and run.process.poll() is None:
            run.terminate()
        # A process that was killed may live on for a moment.
        wait_until(lambda: not processes_of(run.launch_id), describe=lambda: "the agent left processes behind")
    finally:
        for process in processes_of(run.launch_id):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def boot(*runs, **more):
    return {
        "name": "x",
        "runtime_config": {"boot": [{"step": f"step {n}", "run": run} for n, run in enumerate(runs)], **more},
    }


SOURCE = "import time; source_code_that_nobody_may_see = 1; time.sleep(600)"
PYTHON = "exec " + shlex.join([sys.executable, "-c", SOURCE, "argument-that-nobody-may-see"])


@pytest.mark.parametrize(
    ("runtime", "call"),
    [
        ({"command": [sys.executable, "-c", SOURCE], "args": ["argument-that-nobody-may-see"]}, "register"),
        ({"command": [sys.executable, "-c", SOURCE, "argument-that-nobody-may-see"]}, "register"),
        ({"command": PYTHON}, "register"),
        ({"command": f"{NAP} # argument-that-nobody-may-see", "args": ["1"]}, "register"),
        ({"command": ["/nowhere/program", "-c", SOURCE, "argument-that-nobody-may-see"]}, "failed"),
        ({"command": [sys.executable, "-c", f"raise SystemExit(3) # {SOURCE}"]}, "failed"),
        ({"boot": [{"step": "install", "run": f": '{SOURCE}'; exit 4"}]}, "failed"),
        ({"boot": [{"step": "install", "run": f": '{SOURCE}'; kill -KILL $$"}]}, "failed"),
    ],
)
def test_no_report_says_how_the_agent_or_a_step_was_started(agent, platform, runtime, call):
    if call == "failed":
        # However slowly the program starts, it ends before the agent is registered.
        platform.answers["register"] = [(503, {})]
    agent.start({"name": "Ada", "runtime_config": runtime}, platform_url=platform.url, KEY=SECRET)
    platform.wait_for(call)
    agent.terminate()
    told = [json.dumps(each.body) for each in platform.calls] + [agent.log.read_text()]
    for text in told:
        for private in ("that_nobody_may_see", "that-nobody-may-see", "time.sleep"):
            assert private not in text


def test_an_agent_without_a_command_registers_and_says_so_in_its_card(agent, platform):
    agent.start({"name": "Ada", "runtime": "hermes"}, platform_url=platform.url)
    call = platform.wait_for("register")
    assert call.token == TOKEN
    assert call.body["id"] == "w-1"
    assert call.body["url"] == "http://127.0.0.1:4711"
    assert call.body["agent_card"]["has_runtime"] is False
    assert call.body["agent_card"]["name"] == "Ada"
    assert "No runtime command" in call.body["agent_card"]["note"]


def test_heartbeats_follow_the_first_acknowledged_register_and_never_precede_it(agent, platform):
    platform.answers["register"] = [(503, {"error": "not yet"}), (200, {"status": "registered"})]
    agent.start({}, platform_url=platform.url)
    beat = platform.wait_for("heartbeat", times=2)
    assert [call.name for call in platform.calls[:3]] == ["register", "register", "heartbeat"]
    assert beat.body["workspace_id"] == "w-1"
    assert beat.body["active_tasks"] == 0
    assert beat.body["uptime_seconds"] >= 0


def test_heartbeats_omit_tasks_and_errors_that_the_agent_does_not_know(agent, platform):
    agent.start(boot(command=NAP), platform_url=platform.url)
    assert platform.wait_for("heartbeat").body.keys() == {"workspace_id", "uptime_seconds"}


def test_a_newly_issued_token_is_used_from_then_on(agent, platform):
    platform.answers["register"] = [(200, {"status": "registered", "auth_token": "newer"})]
    agent.start({}, platform_url=platform.url)
    assert platform.wait_for("heartbeat").token == "newer"


@pytest.mark.parametrize("answer", [(500, {}), (429, {"error": "slow"}), (409, {"error": "no"}), (200, b"")])
def test_register_is_repeated_until_it_is_acknowledged(agent, platform, answer):
    platform.answers["register"] = [answer, (200, {"status": "registered"})]
    agent.start({}, platform_url=platform.url)
    platform.wait_for("heartbeat")
    assert len(platform.named("register")) == (1 if answer[0] == 200 else 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_permanently_refused_registration_ends_the_agent(agent, platform, status):
    platform.answers["register"] = [(status, {"error": "never you"})]
    agent.start({}, platform_url=platform.url)
    assert agent.ended() == 76
    assert f"{status} never you" in agent.log.read_text()


@pytest.mark.parametrize(("status", "code"), [(401, "superseded"), (410, "removed")])
@pytest.mark.parametrize("call", ["progress", "register", "heartbeat"])
def test_a_superseded_or_removed_agent_stops_its_runtime_and_exits_with_0(agent, platform, call, status, code):
    platform.answers[call] = [(status, {"error": "gone", "code": code})]
    agent.start(boot("true", command=NAP), platform_url=platform.url)
    assert agent.ended() == 0
    assert code in agent.log.read_text()
    assert platform.named("failed") == []


@pytest.mark.parametrize("config", [{}, boot(NAP), boot(command=NAP)])
def test_sigterm_ends_the_agent_and_its_child_at_once(agent, platform, config):
    agent.start(config, platform_url=platform.url, program=("-c", WITHOUT_LIMITS))
    wait_until(lambda: "begins" in agent.log.read_text())
    assert agent.terminate() == 0
    assert platform.named("failed") == []


def test_sigterm_interrupts_a_call_without_a_response(agent, platform):
    is_over = threading.Event()
    platform.answers["register"] = [(200, is_over)]
    agent.start({}, platform_url=platform.url, program=("-c", WITHOUT_LIMITS))
    platform.wait_for("register")
    try:
        assert agent.terminate() == 0
    finally:
        is_over.set()


def test_a_runtime_that_ignores_sigterm_is_killed(agent, platform):
    agent.start(boot(command="trap '' TERM; echo deaf; while :; do sleep 0.1; done"), platform_url=platform.url)
    wait_until(lambda: "deaf" in agent.log.read_text())
    assert agent.terminate() == 0


def test_each_boot_step_is_announced_before_it_runs(agent, platform):
    agent.start(boot("echo one", "echo two"), platform_url=platform.url)
    platform.wait_for("register")
    # Heartbeats follow.
    first = [(call.name, call.body.get("step")) for call in platform.calls[:3]]
    assert first == [("progress", "step 0"), ("progress", "step 1"), ("register", None)]
    wait_until(lambda: "one\n" in agent.log.read_text())


@pytest.mark.parametrize(
    ("step", "sent"),
    [("\u00e9tape\u00a0: un", "\u00e9tape : un"), ("e\u0301\x1b[1m\tbold\u200b", "\u00e9 bold"), ("\u202eexe", "exe")],
    ids=ascii,
)
def test_a_step_is_announced_as_the_platform_stores_it(agent, platform, step, sent):
    config = {"name": "echo", "runtime_config": {"boot": [{"step": step, "run": "true"}]}}
    agent.start(config, platform_url=platform.url)
    platform.wait_for("register")
    assert platform.named("progress")[0].body["step"] == sent


def test_an_error_is_reported_without_control_characters(agent, platform):
    config = {"runtime_config": {"command": ["/no/such/\x1b[31mprogram\u202e"]}}
    agent.start(config, platform_url=platform.url)
    assert agent.ended() == 127
    assert "/no/such/program could not be started" in platform.named("failed")[0].body["error"]


def test_a_step_that_fails_is_reported_with_the_end_of_its_output(agent, platform):
    agent.start(boot("echo the disk is full >&2; exit 3", "echo never"), platform_url=platform.url)
    assert agent.ended() == 3
    [call] = platform.named("failed")
    assert call.body["code"] == "crashed"
    assert call.body["error"] == "Boot step 'step 0' exited with status 3."
    assert "the disk is full" in call.body["log_tail"]
    assert platform.named("register") == []


def test_a_step_ended_by_a_signal_is_reported_by_its_name(agent, platform):
    agent.start(boot("kill -KILL $$"), platform_url=platform.url)
    assert agent.ended() == 137
    assert platform.named("failed")[0].body["error"] == "Boot step 'step 0' was ended by SIGKILL."


def test_the_reported_log_is_cut_on_a_character_and_holds_no_nul(agent, platform):
    agent.start(
        boot(r"i=0; while [ $i -lt 60000 ]; do printf 'ä\000€'; i=$((i+1)); done; exit 1"), platform_url=platform.url
    )
    assert agent.ended() == 1
    tail = platform.named("failed")[0].body["log_tail"]
    assert 100_000 < len(tail.encode()) <= 131_072
    assert "\0" not in tail
    assert "\ufffd" not in tail


def test_a_report_is_repeated_after_a_server_error(agent, platform):
    platform.answers["failed"] = [(500, {}), (200, {"status": "ok"})]
    agent.start(boot("exit 3"), platform_url=platform.url)
    assert agent.ended() == 3
    assert len(platform.named("failed")) == 2


def test_a_missing_variable_is_reported_before_anything_runs(agent, platform):
    config = boot("touch ran", required_env=["API_KEY", "OTHER_KEY", {"any_of": ["C", "D"]}])
    agent.start(config, platform_url=platform.url)
    assert agent.ended() == 78
    [call] = platform.calls
    assert call.name == "failed"
    assert call.body["code"] == "missing_env"
    assert call.body["missing"] == ["OTHER_KEY", "C", "D"]
    assert "OTHER_KEY and one of C or D" in call.body["error"]
    assert not (agent.folder / "ran").exists()


def test_what_is_wrong_and_what_is_missing_are_reported_at_once(agent, platform):
    config = boot("touch ran", required_env=["API_KEY", "OTHER_KEY"], args="-v") | {"tier": "x"}
    agent.start(config, platform_url=platform.url)
    assert agent.ended() == 78
    [call] = platform.calls
    assert (call.body["code"], call.body["missing"]) == ("bad_config", ["OTHER_KEY"])
    assert call.body["error"].startswith("config.json is not usable. tier: must be a whole number, not text; ")
    assert "runtime_config.args: " in call.body["error"]
    assert " Missing required environment variable OTHER_KEY. Add it " in call.body["error"]
    assert not (agent.folder / "ran").exists()


@pytest.mark.parametrize("place", ["models", "runtime_config"])
def test_a_missing_variable_of_the_models_entry_is_reported_with_the_entry(agent, platform, place):
    models = {"models": [{"id": "hub/*", "required_env": ["HUB_TOKEN"]}]}
    config = {"model": "Hub/x"} | (models if place == "models" else {"runtime_config": models})
    agent.start(config, platform_url=platform.url)
    assert agent.ended() == 78
    [call] = platform.calls
    assert (call.body["code"], call.body["missing"]) == ("missing_env", ["HUB_TOKEN"])
    assert 'The entry "hub/*" (' in call.body["error"]


@pytest.mark.parametrize(
    "config", ["{", "[]", '{"tier": "x"}', "[" * 100_000, '{"runtime_config": {"requried_env": ["API_KEY"]}}']
)
def test_an_invalid_config_is_reported(agent, platform, config):
    agent.start(config, platform_url=platform.url)
    assert agent.ended() == 78
    [call] = platform.calls
    assert call.body["code"] == "bad_config"
    assert "config.json" in call.body["error"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORKSPACE_ID", ""), ("PLATFORM_URL", "ftp://x"), ("HEARTBEAT_INTERVAL_SECONDS", "0"), ("PORT", " ")],
)
def test_an_invalid_environment_ends_the_agent_with_a_message(agent, name, value):
    agent.start({}, **{"platform_url": "http://127.0.0.1:9", name: value})
    assert agent.ended() == 78
    assert (name if name != "PLATFORM_URL" else value) in agent.log.read_text()


def test_a_command_that_cannot_be_started_is_reported(agent, platform):
    agent.start(boot(command=["no-such-program"]), platform_url=platform.url)
    assert agent.ended() == 127
    assert "no-such-program could not be started" in platform.named("failed")[0].body["error"]


@pytest.mark.parametrize(("command", "code"), [("exit 5", 5), ("exit 0", 1)])
def test_a_runtime_that_ends_before_register_has_failed(agent, platform, command, code):
    # However slow it is, it ends before the agent is registered.
    platform.answers["register"] = [(503, {})]
    agent.start(boot(command=f"echo why; {command}"), platform_url=platform.url)
    assert agent.ended() == code
    assert "before the workspace was registered" in platform.named("failed")[0].body["error"]
    assert "why" in platform.named("failed")[0].body["log_tail"]


def test_a_runtime_that_ends_later_ends_the_agent_with_its_code(agent, platform):
    agent.start(boot(command="while [ ! -e end ]; do sleep 0.05; done; exit 7"), platform_url=platform.url)
    platform.wait_for("heartbeat")
    (agent.folder / "end").touch()
    assert agent.ended() == 7
    assert platform.named("failed") == []


def test_an_agent_keeps_running_while_the_platform_is_away(agent):
    with running_platform() as platform:
        platform.answers["heartbeat"] = [(200, {"status": "ok"}), (0, {})]
        agent.start({}, platform_url=platform.url)
        platform.wait_for("heartbeat", times=6)
        # Once for the change, not once for each heartbeat.
        assert agent.log.read_text().count("can't be reached") == 1
    wait_until(lambda: "Connection refused" in agent.log.read_text())
    assert agent.process is not None
    assert agent.process.poll() is None


def test_neither_token_nor_secret_is_ever_logged(agent, platform):
    platform.answers["register"] = [(500, {"error": "x"}), (200, {})]
    agent.start(boot("true", required_env=["API_KEY"]), platform_url=platform.url)
    platform.wait_for("heartbeat")
    agent.terminate()
    assert TOKEN not in agent.log.read_text()
    assert SECRET not in agent.log.read_text()


def test_the_token_is_read_from_its_file_if_the_environment_has_none(agent, platform):
    (agent.folder / ".auth_token").write_text("from-the-file\n")
    agent.start({}, platform_url=platform.url, WORKSPACE_TOKEN="")
    assert platform.wait_for("register").token == "from-the-file"


def test_a_boot_step_cannot_import_our_packages(agent, platform):
    step = f"{sys.executable} -S -c 'import agent' && exit 9; test -z \"$PYTHONPATH\""
    agent.start(boot(step), platform_url=platform.url)
    assert platform.wait_for("register").name == "register"


def test_the_agent_also_runs_as_a_module(agent, platform):
    (agent.folder / "config.json").write_text("{}")
    environment = agent.environment(platform.url) | {"PYTHONPATH": str(AGENT.parent)}
    agent.process = subprocess.Popen([sys.executable, "-m", "agent"], env=environment, stdout=subprocess.DEVNULL)
    platform.wait_for("register")
    assert agent.terminate() == 0
