"""Agents written from the wire contract alone, on real servers: those that look at the answers and those that don't."""

import json
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from events.models import Event
from events.names import EventType
from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.access.api_keys import mint_api_key
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Heartbeat, Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]
AGENT = Path(__file__).with_name("wire_agent.py")
S = WorkspaceStatus


class Agent:
    """A running wire_agent.py."""

    def __init__(self, connection, *arguments):
        environment = {
            "WORKSPACE_ID": connection["workspace_id"],
            "PLATFORM_URL": connection["platform_url"],
            "WORKSPACE_TOKEN": connection["auth_token"],
        }
        self.process = subprocess.Popen(
            [sys.executable, str(AGENT), *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self._reader.start()

    def report(self, **fields):
        """Report this from now on."""
        self.process.stdin.write(json.dumps(fields) + "\n")
        self.process.stdin.flush()

    def wait_for(self, text):
        wait_until(lambda: any(text in line for line in self.lines), describe=lambda: "".join(self.lines))

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=PATIENCE_SECONDS)
        self.process.stdout.close()


@pytest.fixture
def operator(stack):
    """A script with an API key that calls a path of a running web server. It returns the answer's JSON."""
    stack.start("web")
    session = requests.Session()
    session.trust_env = False
    _, key = mint_api_key(name="script", scopes=[ApiScope.READ, ApiScope.OPERATE])
    session.headers["Authorization"] = f"Bearer {key}"

    def call(method, path, **body):
        answer = session.request(
            method, f"http://127.0.0.1:{stack.port}{path}", json=body or None, timeout=PATIENCE_SECONDS
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    return call


@pytest.fixture
def run():
    """Run agents, each with what the API gave to connect one. They are stopped after the test."""
    with ExitStack() as agents:

        def start(connection, *arguments):
            agent = Agent(connection, *arguments)
            agents.callback(agent.close)
            return agent

        yield start


def create(operator):
    return operator("POST", "/workspaces", name="wired", external=True)["connection"]


def wait_for_status(workspace_id, status):
    wait_until(lambda: Workspace.objects.get(pk=workspace_id).status == status)


def test_an_agent_registers_degrades_recovers_wedges_is_restarted_and_is_removed(operator, run):
    connection = create(operator)
    pk, path = connection["workspace_id"], f"/workspaces/{connection['workspace_id']}"
    assert operator("GET", path)["agent_card"] is None
    agent = run(connection)
    agent.wait_for('200 {"status":"registered"}')
    agent.wait_for('200 {"status":"ok"}')
    wait_for_status(pk, S.ONLINE)
    shown = operator("GET", path)
    assert (shown["url"], shown["agent_card"]["name"]) == ("http://localhost:9000", "wire agent")

    agent.report(error_rate=0.9, sample_error="the model is away")
    wait_for_status(pk, S.DEGRADED)
    # Existing agents go on sending their last error after they recovered.
    agent.report(error_rate=0.0, sample_error="the model is away")
    wait_for_status(pk, S.ONLINE)
    agent.report(runtime_state="wedged")
    wait_for_status(pk, S.DEGRADED)
    # They tell that a wedge is cleared by leaving it out.
    agent.report(error_rate=0.0)
    wait_for_status(pk, S.ONLINE)

    again = operator("POST", f"{path}/restart")["connection"]
    agent.wait_for('"code":"superseded"')
    assert agent.process.wait(timeout=PATIENCE_SECONDS) != 0
    newer = run(again)
    newer.wait_for('200 {"status":"registered"}')
    wait_for_status(pk, S.ONLINE)
    operator("DELETE", f"{path}?confirm=true")
    newer.wait_for('410 {"error"')
    newer.wait_for('"code":"removed"')
    names = list(
        Event.objects.filter(workspace_id=pk, is_move=True).order_by("version").values_list("event_type", flat=True)
    )
    assert [name for name in names if name == EventType.WORKSPACE_DEGRADED] == [EventType.WORKSPACE_DEGRADED] * 2
    assert names[-1] == EventType.WORKSPACE_REMOVED


def test_one_that_registers_without_looking_and_one_that_only_beats_come_online(operator, run):
    careless, mute = create(operator), create(operator)
    run(careless, "--careless")
    run(mute, "--mute")
    for connection in (careless, mute):
        wait_for_status(connection["workspace_id"], S.ONLINE)


def test_one_with_the_token_of_the_launch_before_is_told_each_time_and_changes_nothing(operator, run):
    connection = create(operator)
    pk = connection["workspace_id"]
    old = run(connection, "--careless")
    wait_for_status(pk, S.ONLINE)
    operator("POST", f"/workspaces/{pk}/restart")
    old.wait_for('"code":"superseded"')
    was = Workspace.objects.get(pk=pk)
    beats = Heartbeat.objects.values().get(pk=pk)
    old.report(error_rate=0.9, active_tasks=5, current_task="late")
    stuck = run(connection, "--careless")
    stuck.wait_for('"code":"superseded"')
    assert old.process.poll() is None
    assert Heartbeat.objects.values().get(pk=pk) == beats
    now = Workspace.objects.get(pk=pk)
    assert (now.status, now.version, now.agent_card) == (was.status, was.version, was.agent_card)
