"""The catalog's own templates, launched for real where that needs no network."""

import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from agent import rules
from tests.agent.platform_stub import running_platform
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners.base import BackendState

CATALOG = Path(__file__).parents[3] / "catalog"


def template(name):
    return yaml.safe_load((CATALOG / name / "config.yaml").read_text())


@pytest.fixture
def platform():
    with running_platform() as stub:
        yield stub


@pytest.fixture
def world(tmp_path, platform):
    made = ProcessWorld(tmp_path)
    yield made
    made.clean_up()


@pytest.fixture
def echo(world, platform):
    return replace(world.spec(PLATFORM_URL=platform.url), config=template("echo"))


@pytest.mark.parametrize(
    ("name", "runtime", "required"),
    [
        ("echo", "echo", []),
        ("hermes", "hermes", ["HERMES_API_KEY"]),
        ("claude-code", "claude-code", ["CLAUDE_CODE_OAUTH_TOKEN"]),
        ("langgraph", "langgraph", ["OPENAI_API_KEY"]),
    ],
)
def test_a_template_names_its_runtime_and_what_it_needs(name, runtime, required):
    config = template(name)
    assert rules.runtime_of(config) == runtime
    assert rules.missing_names(rules.missing(config, {})) == required


def listens(url):
    address = urlsplit(url)
    with suppress(ConnectionRefusedError), socket.create_connection((address.hostname, address.port)):
        return True
    return False


def test_echo_registers_and_echoes(world, platform, echo):
    url = world.backend.start(echo).url
    assert platform.wait_for("register").body["agent_card"]["has_runtime"]
    # The agent registers when the command has run for a second, whether it is ready or not.
    wait_until(lambda: listens(url))
    assert httpx.post(url, content="Grüße", timeout=PATIENCE_SECONDS).text == "Grüße"
    assert httpx.get(f"{url}/hello", timeout=PATIENCE_SECONDS).text == f"echo {echo.key.workspace_id} /hello\n"


def test_an_echo_whose_port_is_taken_fails_with_the_reason(world, platform, echo):
    # It can't register, since under load a command that fails may run for the second after which it counts as up.
    platform.answers["register"] = [(503, {})]
    # A boot step takes the port of the workspace itself.
    config = echo.config | {"runtime_config": {**echo.config["runtime_config"], "boot": [TAKE_PORT]}}
    world.backend.start(replace(echo, config=config))
    report = platform.wait_for("failed").body
    assert "exited with status 1 before the workspace was registered" in report["error"]
    assert "Address already in use" in report["log_tail"]
    wait_until(lambda: world.backend.inspect(echo.key).state is BackendState.EXITED)


TAKE_PORT = {
    "step": "take the port",
    "run": 'python3 -c \'import os, socket, time; s = socket.create_server(("127.0.0.1", int(os.environ["PORT"]))); '
    'open("taken", "w"); time.sleep(600)\' & while [ ! -e taken ]; do sleep 0.05; done',
}
