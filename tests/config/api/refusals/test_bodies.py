"""Every call that takes a body, with every bad body: a refusal that names the field, and nothing changed."""

import json

import pytest
from django.db import transaction

from tests.config.api.refusals import bad_values
from tests.config.api.refusals.world import BODIES, OF_REPORTS, stored
from tests.described import CALLS, DESCRIBED, misfits

pytestmark = pytest.mark.django_db
TAKING = [name for name, call in sorted(CALLS.items()) if "requestBody" in call]
OF_OPERATORS = [name for name in TAKING if not OF_REPORTS.search(name)]
# What decides in a report; every other field is mended or left out (docs/reference/reports.md).
JUDGED = {
    "POST /registry/register": {"id"},
    "POST /registry/heartbeat": {"workspace_id"},
    "POST /registry/progress": {"workspace_id"},
    "POST /registry/failed": {"workspace_id"},
    "POST /registry/update-card": {"workspace_id", "agent_card"},
    "POST /registry/check-access": {"caller_id", "target_id"},
    "POST /admin/workspaces/{workspace_id}/bootstrap-failed": {"launch_id"},
}
# A report of a failure has a log.
MOST_BYTES = dict.fromkeys(
    ("POST /registry/failed", "POST /admin/workspaces/{workspace_id}/bootstrap-failed"), 8 * 2**20
)


def schema_of(call):
    """Return the schema of a call's body, and that of each of its fields."""
    content = CALLS[call]["requestBody"]["content"]["application/json"]["schema"]
    references = [content.get("$ref", ""), *(each.get("$ref", "") for each in content.get("anyOf", []))]
    [name] = [each.rpartition("/")[2] for each in references if each]
    return content, DESCRIBED["components"]["schemas"][name]["properties"]


def told(answer):
    """Return the names of the fields that a refusal names."""
    return set(answer.json().get("fields", {}))


def names(field, named):
    """Return whether a field, or a part of it, is among the named ones."""
    return any(name == field or name.startswith((f"{field}.", f"{field}[")) for name in named)


def wrong_with(answer, before, *, field="", status=None):
    """Return what is wrong with a refusal, if anything is. That of a preflight is a report with its problems."""
    if answer.status_code == 200 and answer.json().get("ok") is False:
        return "" if stored() == before else "it changed something"
    if not 400 <= answer.status_code < 500 or (status and answer.status_code != status):
        return f"{answer.status_code} {answer.content[:200]}"
    # Of two fields that don't go together, the sentence names both.
    if field and not names(field, told(answer)) and f"`{field}`" not in answer.json()["error"]:
        return f"it names {told(answer)}: {answer.content[:200]}"
    if not field and not told(answer) and "body" not in answer.json()["error"]:
        return f"it names nothing: {answer.content[:200]}"
    return "" if stored() == before else "it changed something"


def test_every_call_that_takes_a_body_is_tried():
    assert {CALLS[call]["operationId"] for call in TAKING} == set(BODIES), "Add a valid body to BODIES in world.py."
    assert set(TAKING) - set(OF_OPERATORS) == set(JUDGED), "Say in JUDGED which fields of a report are judged."
    assert len(OF_OPERATORS) >= 12


@pytest.mark.parametrize("call", OF_OPERATORS)
def test_a_field_with_a_bad_value_is_named_and_nothing_changes(world, call):
    schema, fields = schema_of(call)
    valid, before, wrong = world.body(call), stored(), {}
    every = {**bad_values.OTHER_TYPES, **bad_values.NEVER, **bad_values.CONTROLS}
    for field in fields:
        for what, value in every.items():
            body = valid | {field: value}
            is_refused = what in bad_values.NEVER or bool(misfits(body, schema))
            is_refused |= what in bad_values.CONTROLS and field not in bad_values.TAKING_CONTROLS
            with transaction.atomic():
                answer = world.send(call, body=body)
                if is_refused or answer.status_code >= 300:
                    # Which of two fields is wrong that don't go together, a schema can't say.
                    wrong[field, what] = wrong_with(answer, before, field=field if is_refused else "")
                transaction.set_rollback(True)
    assert {place: why for place, why in wrong.items() if why} == {}
    assert len(wrong) > 10 * len(fields)


@pytest.mark.parametrize("call", OF_OPERATORS)
def test_a_field_that_is_missing_or_does_not_exist_is_named_and_nothing_changes(world, call):
    schema, _ = schema_of(call)
    valid, before, wrong = world.body(call), stored(), {}
    for field in valid:
        body = {name: value for name, value in valid.items() if name != field}
        if misfits(body, schema):
            wrong[field] = wrong_with(world.send(call, body=body), before, field=field, status=422)
    for field in ("unheard_of", "__proto__", "", "a\x1b[2J", "x" * 1000):
        answer = world.send(call, body=valid | {field: 1})
        wrong[field] = wrong_with(answer, before, field=field[:200] or "body", status=422)
    assert {field: why for field, why in wrong.items() if why} == {}


@pytest.mark.parametrize("call", OF_OPERATORS)
def test_a_bad_body_is_refused_and_nothing_changes(world, call):
    before, wrong = stored(), {}
    for what, (body, status, code) in bad_values.BODIES.items():
        needs_one = CALLS[call]["requestBody"].get("required") and misfits(None, schema_of(call)[0])
        if what in {"nothing", "null"} and not needs_one:
            continue
        answer = world.send(call, body=body)
        wrong[what] = wrong_with(answer, before, status=status) or ("" if answer.json()["code"] == code else code)
    assert {what: why for what, why in wrong.items() if why} == {}


@pytest.mark.parametrize("call", OF_OPERATORS)
def test_what_can_not_be_read_is_named_with_its_place_and_nothing_changes(world, call):
    before, wrong = stored(), {}
    for field in schema_of(call)[1]:
        for what, (value, status, code, place) in bad_values.PLACES.items():
            answer = world.send(call, body=bad_values.field_as(field, value))
            if (answer.status_code, answer.json()["code"], told(answer)) != (
                status,
                code,
                {place.format(field=field)[:200]},
            ):
                wrong[field, what] = answer.content[:300]
    assert wrong == {}
    assert stored() == before


@pytest.mark.parametrize("path", ["/channels/{channel}/pause", "/workspaces/{online}/pause"])
def test_a_form_that_can_not_be_read_is_refused_also_where_no_body_is_needed(world, path):
    caller, before = world.operator, stored()
    address = path.format(channel=world.channels["sending"].pk, online=world.workspaces["online"].pk)
    answer = caller.client.generic("POST", address, headers=caller.headers, CONTENT_TYPE="multipart/form-data")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert stored() == before


FORM = '--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\ntrue\r\n--b--\r\n'
FORM_TYPE = "multipart/form-data; boundary=b"


def test_a_form_of_a_delete_is_refused_although_django_parses_none(world):
    caller, address, before = world.operator, f"/workspaces/{world.workspaces['online'].pk}", stored()
    answer = caller.client.generic("DELETE", address, FORM % "confirm", headers=caller.headers, content_type=FORM_TYPE)
    assert (answer.status_code, answer.json()["fields"]) == (422, {"body": "This call reads no body. Send none."})
    assert stored() == before


def test_an_empty_form_leaves_its_body_to_the_key_of_a_repeated_request(world):
    caller, address = world.operator, f"/workspaces/{world.workspaces['online'].pk}/restart"
    headers = caller.headers | {"Idempotency-Key": "k1"}
    form = FORM % "csrfmiddlewaretoken"
    answers = [caller.client.generic("POST", address, form, headers=headers, content_type=FORM_TYPE) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("call", JUDGED)
def test_a_report_with_a_bad_value_counts_or_its_field_is_named(world, call):
    schema, fields = schema_of(call)
    valid, before, wrong = world.body(call), stored(), {}
    every = {**bad_values.OTHER_TYPES, **bad_values.NEVER, **bad_values.CONTROLS}
    for field in fields:
        for what, value in every.items():
            body, is_judged = valid | {field: value}, field in JUDGED[call]
            with transaction.atomic():
                answer = world.send(call, body=body)
                if is_judged and what != "another ID" and misfits(body, schema):
                    wrong[field, what] = wrong_with(answer, before, field=field, status=422)
                elif is_judged and answer.status_code == 403:
                    # It is the ID of another workspace: the sentence says so.
                    wrong[field, what] = "" if stored() == before else "it changed something"
                elif is_judged and answer.status_code != 200:
                    wrong[field, what] = wrong_with(answer, before, field=field, status=422)
                elif answer.status_code != 200:
                    wrong[field, what] = answer.content[:200]
                elif ignored := answer.json().get("ignored"):
                    wrong[field, what] = "" if names(field, ignored) else f"it ignored {ignored}"
                transaction.set_rollback(True)
    assert {place: why for place, why in wrong.items() if why} == {}
    assert wrong


@pytest.mark.parametrize("call", JUDGED)
def test_a_report_without_what_is_judged_is_refused_and_nothing_changes(world, call):
    valid, before = world.body(call), stored()
    required = schema_of(call)[0]
    for field in JUDGED[call] & valid.keys():
        body = {name: value for name, value in valid.items() if name != field}
        if misfits(body, required):
            assert wrong_with(world.send(call, body=body), before, field=field, status=422) == ""


@pytest.mark.parametrize("call", JUDGED)
def test_a_report_that_is_no_object_or_too_large_is_refused_and_nothing_changes(world, call):
    before, wrong = stored(), {}
    for what in ("nothing", "half an object", "a word", "two values", "a text", "a number", "null", "a list"):
        body, status, code = bad_values.BODIES[what]
        answer = world.send(call, body=body)
        wrong[what] = wrong_with(answer, before, status=status) or ("" if answer.json()["code"] == code else code)
    answer = world.send(call, body=json.dumps({"name": "x" * MOST_BYTES.get(call, 2**20)}).encode())
    wrong["too large"] = wrong_with(answer, before, status=413)
    assert {what: why for what, why in wrong.items() if why} == {}


@pytest.mark.parametrize("call", TAKING)
def test_a_body_that_is_no_object_is_told_so_in_words_of_json(world, call):
    for body in ([], "text", 5):
        answer = world.send(call, body=body)
        assert answer.status_code == 422, (call, body)
        assert answer.json()["fields"] == {"body": "Input should be a JSON object."}, (call, body)


def test_a_field_that_is_no_object_is_told_so_in_words_of_json(world):
    answer = world.send("PATCH /workspaces/{workspace_id}", body={"labels": 5})
    assert answer.json()["fields"] == {"labels": "Input should be a JSON object."}
