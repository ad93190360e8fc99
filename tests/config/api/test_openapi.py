"""The API's description is whole: examples, refusals, credentials, and a docs page that needs no other host."""

import json
import re

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from jsonschema import Draft202012Validator

from config.api.ninja_api import api
from config.api.openapi import HEADERS, REFUSALS
from config.api.openapi_examples import REQUESTS
from config.management.commands.openapi_page import openapi_page

DESCRIBED = json.loads(openapi_page())
CALLS = {
    f"{method.upper()} {path}": call for path, calls in DESCRIBED["paths"].items() for method, call in calls.items()
}


def misfits(example, schema):
    whole = {**schema, "components": DESCRIBED["components"]}
    validator = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [error.message for error in validator.iter_errors(example)]


def test_every_body_has_an_example_that_fits_its_schema():
    bodies = {call["operationId"]: call["requestBody"] for call in CALLS.values() if "requestBody" in call}
    assert set(bodies) == set(REQUESTS)
    for name, body in bodies.items():
        [content] = body["content"].values()
        assert misfits(content["example"], content["schema"]) == [], name
        # An example with a field that doesn't exist would fit a schema that allows others.
        reference = json.dumps(content["schema"]).partition("schemas/")[2].partition('"')[0]
        assert set(content["example"]) <= set(DESCRIBED["components"]["schemas"][reference]["properties"]), name


def test_an_example_that_does_not_fit_is_found():
    assert misfits({"budget_limit": "much"}, {"$ref": "#/components/schemas/BudgetIn"})


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
        assert {"400", "401", "403", "422", "429", "500", "503"} <= set(call["responses"]), name


def test_every_pattern_of_a_header_and_of_a_refusal_meets_a_call():
    for pattern in [calls for calls, _ in HEADERS.values()] + [calls for *_, calls in REFUSALS.values()]:
        assert any(re.fullmatch(pattern, name) for name in CALLS), pattern
    with_key = {name for name, call in CALLS.items() if "Idempotency-Key" in json.dumps(call["parameters"])}
    one = "/workspaces/{workspace_id}"
    assert {"POST /workspaces", f"POST {one}/restart", f"POST {one}/tokens", f"DELETE {one}"} < with_key


def test_the_description_below_a_prefix_differs_in_its_paths_alone():
    below = json.loads(json.dumps(api.get_openapi_schema(path_prefix="slipway/")))
    assert {path.removeprefix("/slipway"): calls for path, calls in below["paths"].items()} == DESCRIBED["paths"]


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
