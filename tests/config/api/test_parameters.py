"""A query parameter that a call doesn't have is refused, with the nearest one, before anything is done."""

import json
from secrets import token_hex
from urllib.parse import quote, urlencode

import pytest
from django.middleware.csrf import get_token
from django.test import RequestFactory
from django.test.client import encode_multipart

from config.api.ninja_api import api
from config.api.openapi_examples import REQUESTS
from tests.callers import AgentCaller, holder
from tests.described import DescribedClient
from tests.workspaces.factories import booting, online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Workspace

pytestmark = pytest.mark.django_db

DESCRIBED = api.get_openapi_schema(path_prefix="")
SCHEMAS = DESCRIBED["components"]["schemas"]
CALLS = {
    f"{method.upper()} {path}": call
    for path, calls in DESCRIBED["paths"].items()
    for method, call in calls.items()
    if not path.startswith(("/registry/", "/admin/"))
}


def send(caller, call, query, *, workspace, body=None):
    """Send a call with IDs of the right form, and its example as the body unless there is another one."""
    method, path = call.split(" ")
    for parameter in CALLS[call]["parameters"]:
        is_number = parameter["schema"].get("type") == "integer"
        value = "1" if is_number else str(workspace.pk) if parameter["schema"].get("format") == "uuid" else "a"
        path = path.replace(f"{{{parameter['name']}}}", value)
    if body is None:
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


def fitting(schema):
    """Return a value that fits the schema of a parameter."""
    kinds = [each for each in schema.get("anyOf", schema.get("allOf", [schema])) if each.get("type") != "null"]
    by_format = {"uuid": "00000000-0000-4000-8000-000000000001", "date-time": "2026-11-29T12:00:00Z"}
    kind = SCHEMAS[kinds[0]["$ref"].rpartition("/")[2]] if "$ref" in kinds[0] else kinds[0]
    return kind.get("enum", [by_format.get(kind.get("format"), "1")])[0]


def query_parameters(call):
    return [each for each in CALLS[call]["parameters"] if each["in"] == "query"]


@pytest.mark.parametrize("call", sorted(call for call in CALLS if query_parameters(call)))
def test_a_parameter_that_is_not_a_list_is_refused_if_it_is_given_twice(call):
    workspace = online()
    single = [each for each in query_parameters(call) if each["schema"].get("type") != "array"]
    for name, value in ((each["name"], quote(fitting(each["schema"]))) for each in single):
        answer = send(holder(ApiScope.ADMIN), call, f"{name}={value}&{name}={value}", workspace=workspace)
        assert answer.status_code == 422, answer.content
        assert answer.json()["fields"] == {name: "This parameter is given more than once."}
    assert Workspace.objects.get().version == workspace.version


BODILESS = sorted(call for call in CALLS if not call.startswith("GET ") and "requestBody" not in CALLS[call])


@pytest.mark.parametrize("call", BODILESS)
@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ('{"forse": true, "confrim": true}', {"forse", "confrim"}),
        ("[1]", {"body"}),
        ("true", {"body"}),
    ],
)
def test_a_call_that_reads_no_body_refuses_one_that_asks_for_something(call, body, refused):
    workspace = online()
    caller = holder(ApiScope.ADMIN)
    answer = send(caller, call, "", workspace=workspace, body=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.content
    assert answer.json()["fields"].keys() == refused
    assert send(caller, call, "", workspace=workspace, body="force=true").json()["code"] == "bad_json"
    assert Workspace.objects.get().version == workspace.version


def test_an_option_that_is_sent_as_a_field_is_named():
    path, operator = f"/workspaces/{online().pk}", holder(ApiScope.OPERATE)
    answer = operator.post(f"{path}/hibernate", {"force": True})
    assert answer.json()["fields"] == {"force": "There is no such field. Did you mean the parameter force?"}
    for nothing in ("", "{}", "null"):
        answer = operator.client.generic(
            "POST", f"{path}/restart", nothing, "application/json", headers=operator.headers
        )
        assert answer.status_code == 200, answer.content
    for form, status in (({}, 200), ({"force": "true"}, 422)):
        assert operator.client.post(f"{path}/restart", form, headers=operator.headers).status_code == status


FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Browser:
    """A page of a signed-in user whose forms carry their CSRF token as a field."""

    def __init__(self, admin_user):
        self.client = DescribedClient(enforce_csrf_checks=True, raise_request_exception=False)
        self.client.force_login(admin_user)

    def send(self, path, form, kind, **headers):
        """Send a form from a page that was just loaded: its token has another mask each time."""
        request = RequestFactory().get("/")
        fields = {"csrfmiddlewaretoken": get_token(request), **form}
        self.client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
        boundary = token_hex(8)
        encoded = encode_multipart(boundary, fields) if kind == FORMS[0] else urlencode(fields)
        kind += f"; boundary={boundary}" if kind == FORMS[0] else ""
        return self.client.generic("POST", path, encoded, kind, headers=headers)


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_of_a_browser_with_its_csrf_token_works_and_one_that_asks_for_more_names_it(admin_user, kind):
    workspace, browser = online(), Browser(admin_user)
    path = f"/workspaces/{workspace.pk}/restart"
    answer = browser.send(path, {"force": "true"}, kind)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["force"]), answer.content
    assert Workspace.objects.get().version == workspace.version
    answer = browser.send(path, {}, kind)
    assert answer.status_code == 200, answer.content
    assert Workspace.objects.get().version == workspace.version + 1
    wrong = browser.send(path, {"csrfmiddlewaretoken": "x" * 64}, kind)
    assert (wrong.status_code, wrong.json()["code"]) == (403, "csrf")


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_is_sent_again_with_its_idempotency_key_is_done_once(admin_user, kind):
    workspace, browser = online(), Browser(admin_user)
    paths = [f"/workspaces/{workspace.pk}/{verb}" for verb in ("tokens", "restart")]
    for path in paths:
        first, second = (browser.send(path, {}, kind, **{"Idempotency-Key": path}) for _ in range(2))
        assert (first.status_code, second.content) == (200, first.content), first.content
        assert (first.get("Idempotent-Replayed"), second.get("Idempotent-Replayed")) == (None, "true")
    assert Workspace.objects.get().version == workspace.version + 1
    other = browser.send(paths[0], {}, kind, **{"Idempotency-Key": paths[1]})
    assert other.json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize("kind", FORMS)
def test_a_call_that_reads_json_tells_a_browser_what_to_send_instead_of_a_form(admin_user, kind):
    answer = Browser(admin_user).send("/workspaces", {"name": "new"}, kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")
    assert answer.json()["error"] == "The body is a form. Send a JSON object."
    assert not Workspace.objects.exists()


@pytest.mark.parametrize("body", ["{}", " null", ""])
def test_json_that_curl_calls_a_form_is_read_as_json(body):
    workspace, operator = online(), holder(ApiScope.OPERATE)
    path = f"/workspaces/{workspace.pk}/restart"
    refused = operator.client.generic("POST", path, '{"force": true}', FORMS[1], headers=operator.headers)
    assert list(refused.json()["fields"]) == ["force"]
    assert operator.client.generic("POST", path, body, FORMS[1], headers=operator.headers).status_code == 200


def fields_of_bodies():
    """Return (call, field) of every field of every body that an operator sends."""
    found = []
    for call, described in CALLS.items():
        for content in described.get("requestBody", {}).get("content", {}).values():
            references = [content["schema"], *content["schema"].get("anyOf", [])]
            [name] = [each["$ref"].rpartition("/")[2] for each in references if "$ref" in each]
            found += [(call, field) for field in SCHEMAS[name]["properties"]]
    return found


@pytest.mark.parametrize(("call", "field"), fields_of_bodies())
def test_each_body_of_operators_refuses_a_field_that_it_does_not_have_with_the_nearest(call, field):
    workspace = booting()
    body = json.dumps({**REQUESTS[CALLS[call]["operationId"]], f"{field}x": "1"})
    answer = send(holder(ApiScope.ADMIN), call, "", workspace=workspace, body=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.content
    assert answer.json()["fields"][f"{field}x"] == f"There is no such field. Did you mean {field}?"
    assert Workspace.objects.get().version == workspace.version


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
