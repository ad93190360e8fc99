"""The API's description is whole: examples, refusals, credentials, and a docs page that needs no other host."""

import json
import re

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders

from config.api.ninja_api import api
from config.api.openapi import ANSWER_HEADERS, REQUEST_HEADERS
from config.api.openapi_examples import ANSWERS, REQUESTS
from config.api.openapi_refusals import REFUSALS
from config.management.commands.openapi_page import openapi_page
from tests.described import CALLS, DESCRIBED, misfits


def test_every_body_has_an_example_that_fits_its_schema():
    bodies = {call["operationId"]: call["requestBody"] for call in CALLS.values() if "requestBody" in call}
    assert set(bodies) == set(REQUESTS)
    for name, body in bodies.items():
        [content] = body["content"].values()
        assert misfits(content["example"], content["schema"]) == [], name


def test_every_answer_has_a_schema_and_an_example_that_fits_it():
    named = set()
    for name, call in CALLS.items():
        for status, answer in call["responses"].items():
            if "$ref" in answer:
                continue
            content = answer["content"].get("application/json")
            if content is None:
                assert name == "GET /workspaces/{workspace_id}/logs"
                continue
            named.add(call["operationId"] if status < "300" else f"{call['operationId']} {status}")
            assert misfits(content["example"], content["schema"]) == [], name
            # One of ours, or a list of them: never any object.
            assert "#/components/schemas/" in json.dumps(content["schema"]), name
    assert named == set(ANSWERS)


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ("BudgetIn", {"budget_limit": "much"}),
        ("BudgetIn", {"budget_limit": 1, "budget_unit": "cents"}),
        ("StateOut", {"paused": False}),
        ("DoneOut", {"status": "forgotten"}),
    ],
    ids=["wrong-type", "unknown-field", "missing-field", "unknown-value"],
)
def test_an_example_that_does_not_fit_is_found(schema, example):
    assert misfits(example, {"$ref": f"#/components/schemas/{schema}"})


@pytest.mark.parametrize("status", REFUSALS)
def test_the_example_of_a_refusal_is_an_error(status):
    response = DESCRIBED["components"]["responses"][f"Refused{status}"]
    [content] = response["content"].values()
    assert misfits(content["example"], content["schema"]) == []
    assert ("Retry-After" in response["headers"]) == (status in {429, 503})


def test_every_reference_leads_somewhere():
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DESCRIBED)))
    assert len(references) > 30
    for reference in references:
        found = DESCRIBED
        for part in reference.split("/"):
            found = found[part]


def test_every_call_says_who_may_make_it_and_has_a_name_of_its_own():
    names = [call["operationId"] for call in CALLS.values()]
    assert len(names) == len(set(names))
    for name, call in CALLS.items():
        assert call["summary"], name
        assert call["security"][0] == {"bearer": []}, name
        assert ({"session": []} in call["security"]) == ("/registry/" not in name), name
        assert {"400", "401", "403", "410", "422", "429", "500", "503"} <= set(call["responses"]), name


def test_every_pattern_of_a_header_and_of_a_refusal_meets_a_call():
    patterns = [calls for calls, *_ in [*REQUEST_HEADERS.values(), *ANSWER_HEADERS.values()] if calls]
    for pattern in patterns + [calls for *_, calls in REFUSALS.values() if calls]:
        assert any(re.fullmatch(pattern, name) for name in CALLS), pattern
    one = "/workspaces/{workspace_id}"
    with_key = calls_with("Idempotency-Key")
    assert {"POST /workspaces", f"POST {one}/restart", f"POST {one}/tokens", f"DELETE {one}"} < with_key


def test_the_headers_of_answers_are_those_of_the_calls_that_have_them():
    answering = {
        header: {
            name
            for name, call in CALLS.items()
            for answer in call["responses"].values()
            if header in headers_of(answer)
        }
        for header in ANSWER_HEADERS
    }
    assert answering["Link"] == calls_with("cursor")
    assert answering["Idempotent-Replayed"] == calls_with("Idempotency-Key")
    edits = {"PATCH /workspaces/{workspace_id}", "PATCH /workspaces/{workspace_id}/budget"}
    reads = {each.replace("PATCH", "GET") for each in edits}
    assert answering["ETag"] == edits | reads
    assert edits < calls_with("If-Match")
    assert answering["RateLimit"] == answering["Retry-After"] == answering["WWW-Authenticate"] == set(CALLS)


def calls_with(parameter):
    return {name for name, call in CALLS.items() if parameter in {each["name"] for each in call["parameters"]}}


def headers_of(answer):
    name = answer.get("$ref", "").rpartition("/")[2]
    return DESCRIBED["components"]["responses"][name]["headers"] if name else answer["headers"]


def test_the_description_below_a_prefix_differs_in_its_paths_alone():
    below = json.loads(json.dumps(api.get_openapi_schema(path_prefix="slipway/")))
    assert {path.removeprefix("/slipway"): calls for path, calls in below["paths"].items()} == DESCRIBED["paths"]
    assert below["components"] == DESCRIBED["components"]


def test_the_page_in_the_docs_is_current():
    assert (settings.BASE_DIR / "docs/reference/openapi.json").read_text() == openapi_page()


def test_the_docs_page_uses_no_other_host(admin_client):
    page = admin_client.get("/api/docs").content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(address.endswith("swagger-ui-bundle.js") for address in addresses)
    for address in addresses:
        assert address.startswith("/static/"), address
        assert finders.find(address.removeprefix("/static/")), address
    assert not re.search(r"<script>|<style>|https?://", page)
