"""What the running API answers is what its description says. Most tests of the API check that, by their clients."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F

from config.api.json_renderer import as_json
from events.channel_settings import saving
from events.models import Event
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.described import CALLS, DESCRIBED, misfits_of_answer
from tests.workspaces import factories
from workspaces import operations
from workspaces.api import serialize
from workspaces.lifecycle.transitions import BudgetAction, WorkspaceStatus
from workspaces.models import ApiScope, Incident, Launch, Usage, Workspace
from workspaces.models.incidents import IncidentKind

pytestmark = pytest.mark.django_db
CRASH_LOOP = {"count": 2, "attempt": 2, "most_attempts": 5, "gave_up": False, "state": "exited", "exit_code": 1}


@pytest.fixture
def fleet():
    """Workspaces in every status, and what else an operator reads, in everything that it can hold."""
    now = database_now()
    parent = factories.online(
        name="parent", labels={"team": "search"}, budget_limit=500, budget_action=BudgetAction.PAUSE
    )
    factories.online(name="child", parent_id=parent.pk)
    factories.queued(name="queued")
    factories.booting(name="booting")
    factories.failed(name="failed")
    factories.hibernated(name="hibernated")
    factories.external(name="awaiting")
    factories.external(name="external", url="http://localhost:9")
    operations.pause(factories.online(name="paused").pk)
    operations.remove(factories.online(name="removed").pk)
    operations.hibernate(factories.online(name="hibernating").pk)
    looping = factories.online(name="looping")
    loop = {**CRASH_LOOP, "next_attempt_at": now.isoformat(), "at": now.isoformat(), "log_tail": "last words"}
    Workspace.objects.filter(pk=looping.pk).update(crash_loop=loop, restart_due_at=now)
    Usage.objects.create(workspace=parent, day=now.date(), input_tokens=1, output_tokens=2, total_calls=3)
    Event.objects.update(position=F("id"))
    for is_over in (False, True):
        Incident.objects.create(
            kind=IncidentKind.MASS_LATENESS,
            scope="runtime:echo",
            opened_at=now - timedelta(hours=1),
            resolved_at=now if is_over else None,
            count=5,
            message="5 of 6 are late.",
        )
    saving.create("webhook", {"name": "ops", "options": {"url": "https://hooks.example/slipway"}})
    admin = holder(ApiScope.ADMIN)
    for path in ("/settings/secrets", "/settings/secret-sets/shared", f"/workspaces/{parent.pk}/secrets"):
        admin.client.put(path, {"secrets": {"TOKEN": "t"}}, content_type="application/json", headers=admin.headers)
    changes = {"secret_sets": ["shared"]}
    admin.client.patch(f"/workspaces/{parent.pk}", changes, content_type="application/json", headers=admin.headers)
    admin.post(f"/workspaces/{parent.pk}/tokens")
    return admin


def paths_of(template):
    """Return the paths that a template of the description stands for in the fleet."""
    return {
        "{workspace_id}": [template.replace("{workspace_id}", str(pk)) for pk in pks_of(Workspace)],
        "{launch_id}": [template.replace("{launch_id}", str(pk)) for pk in pks_of(Launch)],
        "{incident_id}": [template.replace("{incident_id}", str(pk)) for pk in pks_of(Incident)],
        "{channel_id}": [template.replace("{channel_id}", str(pk)) for pk in pks_of(saving.Channel)],
        "{name}": [template.replace("{name}", "shared")],
        "": [template],
    }[template[template.find("{") : template.find("}") + 1]]


def pks_of(model):
    return model.objects.values_list("pk", flat=True)


def test_every_get_of_a_fleet_in_every_status_answers_as_described(fleet):
    missing = {*WorkspaceStatus} - set(Workspace.objects.values_list("status", flat=True))
    assert missing == {WorkspaceStatus.OFFLINE, WorkspaceStatus.DEGRADED}
    answered = {}
    for name in CALLS:
        method, _, template = name.partition(" ")
        if method == "GET" and not template.startswith("/registry/"):
            # The client holds each answer against the description.
            answered[template] = {fleet.get(path).status_code for path in paths_of(template)}
    assert all(200 in statuses for statuses in answered.values()), answered
    assert set.union(*answered.values()) == {200, 410}
    assert fleet.get("/workspaces", limit=1)["Link"]


def test_what_an_agent_asks_is_answered_as_described(fleet):
    parent, hibernated = (Workspace.objects.get(name=name) for name in ("parent", "hibernated"))
    agent = AgentCaller(parent)
    assert agent.get(f"/registry/{parent.pk}/peers").status_code == 200
    headers = {**agent.headers, "X-Workspace-ID": str(parent.pk)}
    found = [
        agent.client.get(f"/registry/discover/{pk}", headers=headers) for pk in (parent.pk, hibernated.pk, uuid4())
    ]
    assert [answer.status_code for answer in found] == [200, 503, 404]
    asked = {"caller_id": str(parent.pk), "target_id": str(hibernated.pk)}
    assert agent.post("/registry/check-access", asked).json() == {"allowed": True}
    assert agent.beat(active_tasks="many").json()["ignored"]


def test_a_workspace_that_can_not_be_shown_whole_is_still_as_described(fleet, monkeypatch):
    monkeypatch.setattr(serialize, "effective_deadline", lambda *_, **__: 1 / 0)
    rows = fleet.get("/workspaces").json()
    assert "could not be shown" in rows[0]["last_sample_error"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("tier", "two"), ("status", "resting"), ("new_field", 1)],
    ids=["wrong-type", "unknown-value", "unknown-field"],
)
def test_an_answer_that_is_not_as_described_fails_the_test_that_gets_it(fleet, monkeypatch, name, value):
    stored = serialize.stored_json
    monkeypatch.setattr(serialize, "stored_json", lambda workspace: {**stored(workspace), name: value})
    with pytest.raises(AssertionError, match=name if name != "status" else "resting"):
        fleet.get("/workspaces")


def test_an_answer_with_a_status_that_is_not_described_fails_the_test_that_gets_it(fleet, monkeypatch):
    monkeypatch.delitem(CALLS["GET /templates"]["responses"], "200")
    with pytest.raises(AssertionError, match="200 is not described"):
        fleet.get("/templates")


@pytest.mark.parametrize(
    ("part", "match"),
    [
        ("x-codes", "the code not_found is not described for 404"),
        ("headers", "the header Allow is not described"),
        ("content", "the type 'application/json; charset=utf-8' is not described"),
    ],
)
def test_a_refusal_with_a_code_header_or_type_that_is_not_described_fails_the_test_that_gets_it(
    fleet, monkeypatch, part, match
):
    status = 405 if part == "headers" else 404
    nothing = [] if part == "x-codes" else {}
    monkeypatch.setitem(DESCRIBED["components"]["responses"][f"Refused{status}"], part, nothing)
    with pytest.raises(AssertionError, match=match):
        fleet.delete("/templates" if status == 405 else f"/workspaces/{uuid4()}")


def test_a_method_that_is_not_described_is_answered_405_as_described(fleet):
    answer = fleet.client.put("/workspaces", headers=fleet.headers)
    # Their order differs from process to process.
    assert (answer.status_code, sorted(answer["Allow"].split(", "))) == (405, ["GET", "POST"])
    assert misfits_of_answer("PUT", "/workspaces", answer) == []
    assert "404 is not described" in str(misfits_of_answer("PUT", "/workspaces", fleet.get("/nonsense")))


def test_a_number_that_is_too_long_for_orjson_changes_nothing_beside_it():
    rows = [{"number": 10**30}, {"name": "Zoë", "tiny": 1e-7}]
    assert as_json(rows).decode() == f'[{{"number":{10**30}}},{{"name":"Zoë","tiny":1e-7}}]'


def test_an_object_is_never_sent_with_all_that_it_holds():
    @dataclass
    class Held:
        secret: str = "kept"

    with pytest.raises(TypeError):
        as_json({"held": Held()})
