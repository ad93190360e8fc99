"""A query parameter that a call doesn't have is refused, with the nearest one, before anything is done."""

import json

import pytest

from config.api.ninja_api import api
from config.api.openapi_examples import REQUESTS
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Workspace

pytestmark = pytest.mark.django_db

CALLS = {
    f"{method.upper()} {path}": call
    for path, calls in api.get_openapi_schema(path_prefix="")["paths"].items()
    for method, call in calls.items()
    if not path.startswith(("/registry/", "/admin/"))
}


def send(caller, call, query, *, workspace):
    """Send a call with its example as the body, and with IDs of the right form."""
    method, path = call.split(" ")
    for parameter in CALLS[call]["parameters"]:
        is_number = parameter["schema"].get("type") == "integer"
        value = "1" if is_number else str(workspace.pk) if parameter["schema"].get("format") == "uuid" else "a"
        path = path.replace(f"{{{parameter['name']}}}", value)
    body = json.dumps(REQUESTS.get(CALLS[call]["operationId"], {}))
    return caller.client.generic(method, f"{path}?{query}", body, "application/json", headers=caller.headers)


@pytest.mark.parametrize("call", sorted(CALLS))
def test_each_call_of_operators_refuses_a_parameter_that_it_does_not_have(call):
    workspace = booting()
    answer = send(holder(ApiScope.ADMIN), call, "unheard_of=1", workspace=workspace)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.content
    assert answer.json()["fields"] == {"unheard_of": "There is no such parameter."}
    row = Workspace.objects.get()
    assert (row.version, row.name, row.budget_limit) == (workspace.version, workspace.name, None)


@pytest.mark.parametrize(
    ("call", "given", "meant"),
    [
        ("DELETE /workspaces/{workspace_id}", "confrim=true", "confirm"),
        ("GET /workspaces/{workspace_id}", "include_remove=true", "include_removed"),
        ("POST /workspaces/{workspace_id}/hibernate", "forced=true", "force"),
        ("GET /workspaces/{workspace_id}/usage", "day=3", "days"),
        ("GET /workspaces/{workspace_id}/logs", "steam=boot", "stream"),
        ("GET /settings/deadlines", "runtme=echo", "runtime"),
        ("GET /events", "evnt=WORKSPACE_ONLINE", "event"),
        ("GET /launches", "outcomes=failed", "outcome"),
    ],
)
def test_the_nearest_parameter_is_named(call, given, meant):
    answer = send(holder(ApiScope.ADMIN), call, given, workspace=online())
    assert answer.status_code == 422
    [why] = answer.json()["fields"].values()
    assert why == f"There is no such parameter. Did you mean {meant}?"
    assert Workspace.objects.get().status == WorkspaceStatus.ONLINE


def test_every_unknown_parameter_is_named_up_to_twenty():
    query = "&".join(f"n{number}=1" for number in range(500))
    assert len(holder(ApiScope.READ).get(f"/events?{query}").json()["fields"]) == 20


def test_a_name_that_begins_with_an_underscore_only_keeps_caches_away():
    assert holder(ApiScope.READ).get("/events?_=1&_t=2").status_code == 200


def test_a_wrong_credential_is_refused_before_a_wrong_parameter():
    assert AgentCaller(booting()).get("/events?evnt=1").status_code == 403


def test_agents_and_watchers_may_send_what_nobody_knows():
    workspace = booting()
    agent, watcher = AgentCaller(workspace), holder(ApiScope.WATCH)
    assert agent.get(f"/registry/{workspace.pk}/peers?version=2").status_code == 200
    body = {"workspace_id": str(workspace.pk), "step": "one"}
    assert agent.post("/registry/progress?version=2", body).status_code == 200
    path = f"/admin/workspaces/{workspace.pk}/bootstrap-failed?version=2"
    assert watcher.post(path, {"error": "It broke."}).status_code == 200


def test_a_log_that_is_not_followed_begins_where_it_begins():
    answer = holder(ApiScope.READ).get(f"/workspaces/{booting().pk}/logs?after=5")
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["after"])
    assert "follow=true" in answer.json()["error"]
