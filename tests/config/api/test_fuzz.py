"""No input to the API makes a server error, and every answer is JSON."""

import json
from urllib.parse import quote

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.api.ninja_api import api
from tests.callers import AgentCaller, holder
from tests.config.api.documented_codes import documented_codes
from tests.workspaces.factories import booting, config_for
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db

DOCUMENTED = documented_codes()
SAMPLES = {
    "name": "w",
    "config": config_for("echo"),
    "url": "http://localhost:1",
    "agent_card": {"name": "a"},
    "step": "install",
    "code": "crashed",
    "error": "It broke.",
}
FIELDS = [
    *("id", "workspace_id", "launch_id", "parent_id", "name", "role", "tier", "model", "runtime", "external", "url"),
    *("config", "template", "secrets", "labels", "budget_limit", "provision_timeout_seconds", "agent_card", "step"),
    *("error_rate", "sample_error", "active_tasks", "uptime_seconds", "current_task", "monthly_spend", "code"),
    *("runtime_state", "runtime_metadata", "missing", "log_tail", "error", "hibernation_idle_minutes", "detail"),
]
TEXT = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["\0", "\ud800", "\x1b[2J", "x" * 5000, "…", "{{}}", "%s"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from([2**31, 2**63, -1, 1e308])
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5
)
PARTS = st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4)
# An ID with a slash would be another address.
IDS = st.none() | TEXT.filter(lambda text: text.strip(". ") and "/" not in text)


def operations():
    for path, methods in api.get_openapi_schema(path_prefix="")["paths"].items():
        yield from ((method, path) for method in methods)


@pytest.fixture(autouse=True)
def _no_name_is_resolved(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no resolver here")

    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.mark.parametrize(("method", "path"), sorted(operations()))
def test_no_input_makes_a_server_error(method, path):
    target = booting()
    caller = AgentCaller(target) if path.startswith("/registry") else holder(ApiScope.ADMIN, ApiScope.WATCH)
    call = api.get_openapi_schema(path_prefix="")["paths"][path][method]
    declared = call["responses"]
    names = [each["name"] for each in call["parameters"] if each["in"] == "query"] + ["unheard_of"]

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(parts=PARTS, raw=st.none() | JUNK, some_id=IDS, query=st.dictionaries(st.sampled_from(names), TEXT))
    def send(parts, raw, some_id, query):
        body = raw if raw is not None else _valid(target) | parts
        with transaction.atomic():
            answer = _send(caller, method, _address(path, some_id or str(target.pk), query), json.dumps(body))
            # The database must not have refused anything.
            assert not connection.needs_rollback
            transaction.set_rollback(True)
        assert answer.status_code < 500, answer.content
        assert answer.status_code in declared, (answer.status_code, answer.content)
        if answer.status_code >= 400:
            assert answer.json()["code"] in DOCUMENTED[answer.status_code], answer.content
        # A log is plain text.
        assert answer["Content-Type"].startswith("text/plain") or isinstance(json.loads(answer.content), dict | list)

    send()


def _valid(target):
    return SAMPLES | {"id": str(target.pk), "workspace_id": str(target.pk)}


def _address(path, workspace_id, query):
    encoded = "&".join(f"{name}={quote(text, errors='surrogatepass')}" for name, text in query.items())
    return path.replace("{workspace_id}", quote(workspace_id, safe="", errors="surrogatepass")) + f"?{encoded}"


def _send(caller, method, address, body):
    if method == "get":
        return caller.client.get(address, headers=caller.headers)
    return caller.client.generic(method.upper(), address, body, content_type="application/json", headers=caller.headers)
