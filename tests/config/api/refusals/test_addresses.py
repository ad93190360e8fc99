"""Every call with bad IDs, query parameters and headers: a refusal that names it, and nothing changed."""

import re
from uuid import uuid4

import pytest
from django.db import transaction

from tests.callers import AgentCaller
from tests.config.api.refusals import bad_values
from tests.config.api.refusals.world import CHANGING, OF_REPORTS, stored
from tests.described import CALLS
from workspaces.models import AgentToken

pytestmark = pytest.mark.django_db
UUIDS = {"workspace_id", "launch_id"}
UNKNOWN_NUMBER = 2_000_000_000
# Every name is that of a new set, if it can be a name.
NAMING = "PUT /settings/secret-sets/{name}"
# An agent learns of other workspaces only whether the one that it names is its own.
OF_ITS_OWN = "GET /registry/{workspace_id}/peers"
# What agents ask for is mended, as what they report.
MENDED = {("GET /registry/{workspace_id}/peers", "q")}


def calls_with(where):
    """Return the calls that have parameters in the path, the query or the headers."""
    return [call for call in sorted(CALLS) if parameters_of(call, where)]


def parameters_of(call, where):
    """Return the schemas of a call's parameters by their names."""
    return {each["name"]: each["schema"] for each in CALLS[call]["parameters"] if each["in"] == where}


def test_every_kind_of_parameter_is_tried():
    assert {each["in"] for call in CALLS.values() for each in call["parameters"]} == {"path", "query", "header"}
    for name, call in CALLS.items():
        in_path = {each["name"] for each in call["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", name)), name


@pytest.mark.parametrize("call", calls_with("path"))
def test_a_bad_or_unknown_id_is_answered_404_and_nothing_changes(world, call):
    before, wrong = stored(), {}
    for name in parameters_of(call, "path"):
        unknown = str(uuid4() if name in UUIDS else UNKNOWN_NUMBER)
        for what, value in {**bad_values.NO_IDS, "an unknown ID": unknown, "an unknown name": "UNHEARD_OF"}.items():
            with transaction.atomic():
                answer = world.send(call, **{name: value})
                found = (answer.status_code, answer.json()["code"] if answer.status_code >= 400 else "")
                if found not in expected(call, what):
                    wrong[name, what] = (*found, answer.content[:200])
                elif found[0] >= 400:
                    shown = value if what == "an unknown ID" else "There is no"
                    assert answer.json().get("fields") or shown in answer.json()["error"], (name, what)
                    assert stored() == before, (name, what)
                transaction.set_rollback(True)
    assert wrong == {}


def expected(call, what):
    """Return the statuses and codes that an address with a bad part may get."""
    not_found = (404, "not_found")
    if call == NAMING:
        return {(200, ""), (422, "validation_error")}
    if call == OF_ITS_OWN and what == "an unknown ID":
        return {(403, "forbidden")}
    return {not_found}


def test_the_name_of_a_new_set_is_refused_by_name(world):
    before = stored()
    for name in ("%00", "x" * 3000, "%1b%5b2J", "%20", "a%ed%a0%80"):
        answer = world.send(NAMING, name=name)
        assert (answer.status_code, list(answer.json()["fields"])) == (422, ["name"]), name
    assert stored() == before


def test_what_belongs_to_another_workspace_is_not_found_and_does_not_change(world):
    other, before = world.workspaces["other"], stored()
    token_id = AgentToken.objects.filter(workspace=other).latest("pk").pk
    for call, foreign in [
        ("DELETE /workspaces/{workspace_id}/tokens/{token_id}", {"token_id": token_id}),
        ("DELETE /workspaces/{workspace_id}/secrets/{name}", {"name": "OF_OTHER"}),
        ("DELETE /workspaces/{workspace_id}/secrets/{name}", {"name": "KEY"}),
        ("DELETE /settings/secrets/{name}", {"name": "OF_OTHER"}),
        ("DELETE /settings/secret-sets/{name}/{secret}", {"secret": "OF_OTHER"}),
    ]:
        answer = world.send(call, **foreign)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), call
    assert stored() == before


def test_an_agent_that_names_another_workspace_is_refused_and_nothing_changes(world):
    own, other = (world.workspaces[name] for name in ("online", "other"))
    agent, before = world.agents["online"], stored()
    for call in sorted(CALLS):
        if not call.startswith("POST /registry/") or call.endswith("/check-access"):
            continue
        body = {
            name: str(other.pk) if value == str(world.target(call).pk) else value
            for name, value in world.body(call).items()
        }
        answer = agent.post(call.removeprefix("POST "), body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), call
    body = {"caller_id": str(other.pk), "target_id": str(world.workspaces["booting"].pk)}
    assert AgentCaller(own).post("/registry/check-access", body).json()["code"] == "forbidden"
    assert stored() == before | {"workspaces_agenttoken": stored()["workspaces_agenttoken"]}


@pytest.mark.parametrize("call", calls_with("query"))
def test_a_bad_query_parameter_is_named_and_nothing_changes(world, call):
    before, wrong = stored(), {}
    for name, schema in parameters_of(call, "query").items():
        values = bad_values.NO_TEXTS if takes_text(schema) else {**bad_values.NO_VALUES, **bad_values.NO_TEXTS}
        for what, value in values.items():
            if not value and "" in schema.get("items", schema).get("enum", ()):
                continue
            answer = world.send(call, query=f"?{name}={value}")
            if (call, name) in MENDED:
                assert answer.status_code == 200
            elif answer.status_code != 422 or name not in {key.partition(".")[0] for key in answer.json()["fields"]}:
                wrong[name, what] = (answer.status_code, answer.content[:200])
    assert wrong == {}
    assert stored() == before


def takes_text(schema):
    """Return whether a parameter, or each of its values, is a text of any kind."""
    kinds = [schema, schema.get("items", {}), *schema.get("anyOf", [])]
    return any(each.get("type") == "string" and not {"enum", "format", "const"} & each.keys() for each in kinds)


@pytest.mark.parametrize("call", [call for call in calls_with("header") if "Idempotency-Key" in str(CALLS[call])])
def test_a_bad_idempotency_key_is_named_and_nothing_changes(world, call):
    before = stored()
    for value in ("", " ", "x" * 300, "\x1b[2J"):
        answer = world.send(call, headers={"Idempotency-Key": value})
        assert (answer.status_code, list(answer.json()["fields"])) == (422, ["Idempotency-Key"]), value
    assert stored() == before


@pytest.mark.parametrize("call", [call for call in calls_with("header") if "If-Match" in str(CALLS[call])])
def test_another_etag_than_that_of_the_workspace_changes_nothing(world, call):
    before = stored()
    for value in ("", "nonsense", "x" * 5000, "\x1b", '"'):
        answer = world.send(call, headers={"If-Match": value})
        assert (answer.status_code, answer.json()["code"]) == (412, "changed"), value
    assert stored() == before


@pytest.mark.parametrize("call", [call for call in CHANGING if "If-Match" not in str(CALLS[call]["parameters"])])
def test_a_call_that_compares_no_etags_refuses_if_match_unless_it_is_a_report(world, call):
    before = stored()
    answer = world.send(call, headers={"If-Match": '"x"'})
    if OF_REPORTS.search(call):
        assert answer.status_code == 200
        return
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["If-Match"])
    assert stored() == before


def test_a_bad_id_in_a_header_is_named(world):
    for value in ("", "nonsense", "x" * 5000, "\x1b", "00000000-0000-0000-0000-00000000000g"):
        answer = world.send("GET /registry/discover/{workspace_id}", headers={"X-Workspace-ID": value})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), value
        assert "X-Workspace-ID" in answer.json()["error"]
