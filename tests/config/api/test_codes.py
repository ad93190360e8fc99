"""Every refusal has a code, and the docs list every code with its status."""

import ast
import json
from itertools import chain
from uuid import UUID

import pytest
from django.conf import settings
from django.test import Client
from ninja.errors import HttpError

from config.api.ninja_api import api
from config.api.openapi_refusals import CODES, REFUSALS
from tests.callers import AgentCaller, holder
from tests.config.api.documented_codes import documented_codes
from tests.workspaces.factories import booting, external, online
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db

DOCUMENTED = documented_codes()
PACKAGES = ("config", "events", "registry", "workspaces")
# What makes a refusal, with the place of its code among the positional arguments; None: it is given by name only.
BY_NAME = ("error_json", "RequestRefused", "StreamRefused", "TurnedAway", "unauthorized", "respond")
MAKERS = {"error_handler": 1, **dict.fromkeys(BY_NAME)}


def codes_in(source):
    """Yield each code that a module writes out where it makes a refusal."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            written = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if is_text(key)}
            found = [written["code"]] if {"error", "code"} <= set(written) else []
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in MAKERS:
            place = MAKERS[node.func.id]
            found = [each.value for each in node.keywords if each.arg == "code"]
            found += node.args[place : place + 1] if place else []
        else:
            found = []
        # The reports of simulated agents and their examples look alike.
        yield from (each.value for each in found if is_text(each) and each.value not in FailureCode.values)


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def sources():
    for package in PACKAGES:
        yield from (path.read_text() for path in (settings.BASE_DIR / package).rglob("*.py"))


def test_the_docs_list_every_code():
    written = set(chain.from_iterable(map(codes_in, sources())))
    assert {"transition_refused", "bad_filter", "too_slow", "unreachable", "needs_asgi"} <= written
    assert written <= set().union(*DOCUMENTED.values())


def test_every_code_of_the_docs_is_one_of_the_sources():
    text = "\n".join(sources())
    assert [code for code in sorted(set().union(*DOCUMENTED.values())) if f'"{code}"' not in text] == []


def test_the_description_has_the_codes_of_the_docs_for_each_status():
    assert CODES.keys() == REFUSALS.keys()
    assert [status for status, codes in CODES.items() if not {*codes} <= DOCUMENTED[status]] == []
    of_streams = {"bad_filter", "bad_position", "origin", "needs_upgrade"}
    # The answer of one call has a description of its own.
    of_calls = {"unreachable"}
    assert set().union(*DOCUMENTED.values()) - set().union(*CODES.values()) == of_streams | of_calls


def nothing_there():
    return Client().get("/nonsense")


def another_method():
    caller = holder(ApiScope.OPERATE)
    return caller.client.put("/workspaces", headers=caller.headers)


def another_method_of_a_plain_view():
    return Client().get("/registry/heartbeat")


def a_forbidden_address():
    return AgentCaller(external()).register(url="file:///etc/passwd")


def a_form():
    caller = AgentCaller(online())
    return caller.client.post("/registry/heartbeat", {"error_rate": "1"}, headers=caller.headers)


def another_host(path="/workspaces"):
    return Client().get(path, headers={"Host": "evil.example"})


def a_stream_without_asgi():
    return Client().get("/events/stream")


def an_agent_that_is_not_there():
    caller, target = AgentCaller(online()), booting()
    headers = {**caller.headers, "X-Workspace-ID": str(caller.workspace.pk)}
    return caller.client.get(f"/registry/discover/{target.pk}", headers=headers)


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (nothing_there, 404),
        (another_method, 405),
        (another_method_of_a_plain_view, 405),
        (a_forbidden_address, 422),
        (a_form, 400),
        (another_host, 400),
        (a_stream_without_asgi, 501),
        (an_agent_that_is_not_there, 503),
    ],
)
def test_a_refusal_has_a_code_of_its_status(refused, status):
    answer = refused()
    assert answer.status_code == status
    assert answer.json()["code"] in DOCUMENTED[status]


@pytest.mark.parametrize(
    "path",
    [
        *("/workspaces", "/registry/heartbeat", "/api/openapi.json", "/nonsense", "/events/stream"),
        f"/admin/workspaces/{UUID(int=1)}/bootstrap-failed",
    ],
)
def test_a_host_that_is_not_allowed_is_named_as_the_reason_everywhere(path):
    answer = another_host(path)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_host")
    assert answer.json()["error"] == "This host is not among ALLOWED_HOSTS."


def test_a_page_for_a_host_that_is_not_allowed_is_a_page():
    answer = another_host("/admin/workspaces/workspace/")
    assert (answer.status_code, answer["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert "This host is not among ALLOWED_HOSTS." in answer.content.decode()


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500, 503])
def test_a_refusal_of_ninja_has_a_code_of_its_status(rf, status):
    answer = api.on_exception(rf.get("/workspaces"), HttpError(status, "No."))
    assert json.loads(answer.content)["code"] in DOCUMENTED[status]
