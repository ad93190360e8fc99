"""Schemathesis makes calls of the API's description, valid ones and invalid ones, and sequences of them."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.conf import settings

from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, failed, online
from workspaces.access.api_keys import mint_api_key
from workspaces.access.tokens import mint_agent_token
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db(transaction=True)
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXISTING = [
    ("PUT", "/settings/secrets", {"key": "GLOBAL", "value": "clear-weather"}),
    ("PUT", "/settings/secret-sets/shared", {"key": "SHARED", "value": "clear-weather"}),
    ("PUT", "/workspaces/{online}/secrets", {"key": "OWN", "value": "clear-weather"}),
    ("POST", "/channels", {"name": "on call", "kind": "webhook", "options": {"url": "https://example.com/hook"}}),
]


def make_calls(client, folder, *options, seconds):
    """Let Schemathesis call a server for so many seconds, and return what it printed. Fails if it found anything."""
    key, secret = mint_api_key(name="script", scopes=[ApiScope.ADMIN, ApiScope.WATCH])
    headers = {"Authorization": f"Bearer {secret}"}
    failed()
    beside, agent = online(), booting()
    for method, path, body in EXISTING:
        client.request(method, path.format(online=beside.pk), json=body, headers=headers).raise_for_status()
    variables = {"API_KEY": secret, "API_KEY_ID": key.pk, "AGENT_TOKEN": mint_agent_token(agent), "AGENT_ID": agent.pk}
    environment = {**os.environ, "NO_PROXY": "*", "PYTHONPATH": str(settings.BASE_DIR)}
    environment |= {name: str(value) for name, value in variables.items()}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", str(settings.BASE_DIR / "docs/reference/openapi.json"), "--url", str(client.base_url)),
            *("--max-time", str(seconds), *options),
        ],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds + 2 * PATIENCE_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    # Whoever lost its credential would see refusals only.
    assert client.get("/workspaces", headers=headers).status_code == 200
    return run.stdout


def number_of(what, printed):
    """Return what Schemathesis counted."""
    return int(re.search(rf"{what} +(\d+)", printed)[1])


@pytest.fixture
def client(serve_web):
    return serve_web(AGENT_CALLS_PER_MINUTE="0", OPERATOR_CALLS_PER_MINUTE="0")


def test_wrong_data_may_be_taken_by_reports_alone():
    """Those are the calls whose answer says what of them was ignored."""
    described = json.loads((settings.BASE_DIR / "docs/reference/openapi.json").read_text())
    schemas = described["components"]["schemas"]

    def is_report(call):
        content = call["responses"].get("200", {}).get("content", {}).get("application/json", {})
        return "ignored" in schemas.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], {}).get(
            "properties", {}
        )

    reports = {path for path, calls in described["paths"].items() if any(map(is_report, calls.values()))}
    [left_out] = [
        re.compile(each["include-path-regex"])
        for each in tomllib.loads(CONFIGURATION.read_text())["operations"]
        if each.get("checks", {}).get("negative_data_rejection") == {"enabled": False}
    ]
    assert {path for path in described["paths"] if left_out.search(path)} == reports


def test_single_calls_are_answered_as_the_description_says(client, tmp_path):
    printed = make_calls(client, tmp_path, "--phases", "examples,coverage,fuzzing", "--seed", "1", seconds=40)
    assert number_of("Tested:", printed) == number_of("Selected:", printed)


def test_calls_after_each_other_are_answered_as_the_description_says(client, tmp_path):
    printed = make_calls(client, tmp_path, "--phases", "stateful", "--seed", "1", seconds=20)
    assert number_of("Scenarios:", printed)


@pytest.mark.soak
def test_ten_minutes_of_calls_are_answered_as_the_description_says(client, tmp_path):
    printed = make_calls(client, tmp_path, seconds=600)
    assert number_of("Scenarios:", printed)
