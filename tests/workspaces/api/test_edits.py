"""Changes of a workspace's fields and budget by operators: what they store, what they refuse, and who wins."""

import time
import uuid

import pytest

from events.models import Event
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, hibernated, online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import MAX_BUDGET_CENTS, ApiScope, Workspace
from workspaces.operations import OPERATIONS, pause, remove

pytestmark = pytest.mark.django_db

EDITABLE = ("name", "role", "tier", "parent_id", "x", "y", "labels", "restart_policy", "budget_limit")
EDITABLE += ("hibernation_idle_minutes", "provision_timeout_seconds", "version", "status")


@pytest.fixture
def operator():
    return holder(ApiScope.OPERATE)


@pytest.fixture
def workspace():
    return online(name="nightly", role="reviewer", labels={"team": "a"})


def patch(caller, workspace, body, *, path="", **headers):
    address = f"/workspaces/{getattr(workspace, 'pk', workspace)}{path}"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.client.patch(address, body, content_type="application/json", headers={**caller.headers, **headers})


def stored(workspace):
    return Workspace.objects.values(*EDITABLE).get(pk=workspace.pk)


def test_each_field_is_changed_and_the_others_stay(operator, workspace):
    parent = online(name="parent")
    changes = {
        "name": "weekly",
        "role": "",
        "tier": 3,
        "parent_id": parent.pk,
        "x": 1.5,
        "y": -20,
        "hibernation_idle_minutes": 30,
        "provision_timeout_seconds": 900,
        "restart_policy": "never",
        "labels": {"team": "b"},
    }
    expected, events = stored(workspace), Event.objects.count()
    for name, value in changes.items():
        answer = patch(operator, workspace, {name: str(value) if name == "parent_id" else value})
        assert (answer.status_code, answer.content) == (200, b'{"status":"updated"}')
        expected[name] = value
        assert stored(workspace) == expected
    assert Event.objects.count() == events


@pytest.mark.parametrize("name", ["parent_id", "hibernation_idle_minutes", "provision_timeout_seconds"])
def test_null_clears_what_may_be_empty(operator, workspace, name):
    value = str(online().pk) if name == "parent_id" else 60
    patch(operator, workspace, {name: value})
    assert patch(operator, workspace, {name: None}).status_code == 200
    assert stored(workspace)[name] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", ""),
        ("name", "\u200b"),
        ("name", "a\u202eb"),
        ("name", "x" * 101),
        ("name", 5),
        ("role", "x" * 201),
        ("role", None),
        ("tier", 0),
        ("tier", 11),
        ("tier", True),
        ("tier", "2"),
        ("tier", None),
        ("x", "1"),
        ("x", 1e300),
        ("y", None),
        ("labels", None),
        ("labels", []),
        ("labels", {"": "a"}),
        ("labels", {"name": "v" * 197}),
        ("labels", {f"label {number}": "x" for number in range(51)}),
        ("hibernation_idle_minutes", -1),
        ("hibernation_idle_minutes", 2**31),
        ("provision_timeout_seconds", 0),
        ("provision_timeout_seconds", 1.5),
        ("restart_policy", "sometimes"),
        ("parent_id", "no-id"),
        ("parent_id", "0158b2d9-836d-48ab-8667-c478994e5846"),
    ],
)
def test_a_wrong_value_is_refused_by_field_and_nothing_is_changed(operator, workspace, field, value):
    before = stored(workspace)
    # Beside a good one.
    answer = patch(operator, workspace, {"x": 7, "role": "good", field: value})
    assert answer.status_code == 422, answer.content
    assert [name.split(".")[0] for name in answer.json()["fields"]] == [field]
    assert stored(workspace) == before


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("nmae", "There is no such field. Did you mean name?"),
        ("parent", "There is no such field. Did you mean parent_id?"),
        ("status", "There is no such field."),
        ("budget_limit", "There is no such field."),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest(operator, workspace, field, said):
    answer = patch(operator, workspace, {field: "x", "role": "other"})
    assert (answer.status_code, answer.json()["fields"]) == (422, {field: said})
    assert stored(workspace)["role"] == "reviewer"


def test_a_body_full_of_unknown_fields_is_refused_quickly_with_the_first_ones_and_their_number(operator, workspace):
    began = time.process_time()
    answer = patch(operator, workspace, {f"labe{number}": "x" for number in range(50_000)})
    assert time.process_time() - began < 5
    assert answer.status_code == 422
    assert answer.json()["fields"] == {
        f"labe{number}": "There is no such field. Did you mean labels?" for number in range(20)
    }
    assert answer.json()["error"].endswith(" labe4: There is no such field. Did you mean labels? And 49995 more.")


def test_an_unknown_field_of_a_new_workspace_is_refused_with_the_nearest(operator):
    answer = operator.post("/workspaces", {"name": "w", "template": "echo", "modle": "x"})
    assert answer.json()["fields"] == {"modle": "There is no such field. Did you mean model?"}
    assert not Workspace.objects.exists()


@pytest.mark.parametrize("own", [True, False])
def test_a_workspace_is_not_put_below_itself(operator, workspace, own):
    child = online(name="child", parent_id=workspace.pk)
    answer = patch(operator, workspace, {"parent_id": str(workspace.pk if own else child.pk), "x": 7})
    assert list(answer.json()["fields"]) == ["parent_id"]
    assert (stored(workspace)["parent_id"], stored(workspace)["x"]) == (None, 0)


def test_a_workspace_is_not_put_below_a_paused_one(operator, workspace):
    paused = pause(online(name="asleep").pk).workspace
    answer = patch(operator, workspace, {"parent_id": str(paused.pk)})
    assert "asleep is paused" in answer.json()["fields"]["parent_id"]


def test_a_removed_workspace_is_gone_and_an_unknown_one_not_found(operator, workspace):
    remove(workspace.pk)
    assert patch(operator, workspace, {"name": "new"}).status_code == 410
    assert patch(operator, uuid.uuid4(), {"name": "new"}).status_code == 404


def test_the_second_of_two_editors_is_told_that_the_workspace_has_changed(operator, workspace):
    read = operator.get(f"/workspaces/{workspace.pk}")["ETag"]
    first = patch(operator, workspace, {"name": "mine"}, If_Match=read)
    assert (first.status_code, first["ETag"] != read) == (200, True)
    second = patch(operator, workspace, {"name": "yours"}, If_Match=read)
    assert (second.status_code, second.json()["code"]) == (412, "changed")
    assert stored(workspace)["name"] == "mine"
    assert patch(operator, workspace, {"name": "yours"}, If_Match=f'"other", {first["ETag"]}').status_code == 200
    assert operator.get(f"/workspaces/{workspace.pk}")["ETag"] != first["ETag"]


VERBS = {
    "restart": online,
    "pause": online,
    "resume": lambda: pause(online().pk).workspace,
    "hibernate": online,
    "wake": hibernated,
    "cancel": booting,
    "remove": online,
}


def act(operator, verb, workspace, **headers):
    method, path = ("DELETE", "") if verb == "remove" else ("POST", f"/{verb}")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    address = f"/workspaces/{workspace.pk}{path}"
    return operator.client.generic(method, address, headers={**operator.headers, **named})


def test_every_verb_is_tried_with_an_etag():
    assert VERBS.keys() == {operation.name for operation in OPERATIONS if not operation.is_admin_only}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_done_only_if_nobody_has_changed_the_workspace_since_it_was_read(operator, verb):
    workspace = VERBS[verb]()
    read = operator.get(f"/workspaces/{workspace.pk}")["ETag"]
    patch(operator, workspace, {"role": "another"})
    before = Workspace.objects.get(pk=workspace.pk)
    now = operator.get(f"/workspaces/{workspace.pk}")["ETag"]
    refused = act(operator, verb, workspace, If_Match=read)
    assert (refused.status_code, refused.json()["code"]) == (412, "changed")
    assert now in refused.json()["error"]
    after = Workspace.objects.get(pk=workspace.pk)
    assert (after.status, after.version, after.launch_id) == (before.status, before.version, before.launch_id)
    done = act(operator, verb, workspace, If_Match=now, Idempotency_Key="once")
    assert done.status_code == 200, done.content
    # What was done once is not held against the state that came of it.
    again = act(operator, verb, workspace, If_Match=now, Idempotency_Key="once")
    assert (again.status_code, again.content, again["Idempotent-Replayed"]) == (200, done.content, "true")


def test_a_removed_workspace_is_gone_whatever_its_etag_was(operator, workspace):
    remove(workspace.pk)
    for verb in VERBS:
        assert act(operator, verb, workspace, If_Match='"x"').status_code in {409, 410}, verb
    missing = Workspace(pk=uuid.uuid4())
    assert act(operator, "remove", missing, If_Match='"x"').status_code == 404


def test_the_etag_of_a_change_serves_for_the_next_one(operator, workspace):
    labels = {"team": "a", "b": "1", "area": "c"}
    first = patch(operator, workspace, {"labels": labels})
    assert first["ETag"] == operator.get(f"/workspaces/{workspace.pk}")["ETag"]
    assert patch(operator, workspace, {"name": "mine"}, If_Match=first["ETag"]).status_code == 200


def test_the_etag_of_a_budget_is_that_of_the_workspace_which_it_has_paused(operator, workspace):
    AgentCaller(workspace).beat(monthly_spend=700)
    changes = {"budget_limit": 500, "budget_action": "pause"}
    first = patch(operator, workspace, changes, path="/budget")
    assert stored(workspace)["status"] == WorkspaceStatus.PAUSED
    assert patch(operator, workspace, {"budget_limit": 900}, path="/budget", If_Match=first["ETag"]).status_code == 200


def test_a_parent_is_changed_as_it_was_read_and_not_after_another_change_of_it(operator, workspace):
    parent, other = online(name="parent"), online(name="other")
    read = operator.get(f"/workspaces/{workspace.pk}")["ETag"]
    first = patch(operator, workspace, {"parent_id": str(parent.pk)}, If_Match=read)
    assert (first.status_code, stored(workspace)["parent_id"]) == (200, parent.pk)
    assert first["ETag"] == operator.get(f"/workspaces/{workspace.pk}")["ETag"]
    patch(operator, workspace, {"parent_id": str(other.pk)})
    # The ETag is of the time when it had the parent that is asked for.
    assert patch(operator, workspace, {"parent_id": str(parent.pk)}, If_Match=first["ETag"]).status_code == 412
    assert stored(workspace)["parent_id"] == other.pk


def test_the_etag_follows_the_status_and_the_edited_fields_but_no_heartbeat(operator, workspace):
    def etag():
        return operator.get(f"/workspaces/{workspace.pk}")["ETag"]

    first = etag()
    AgentCaller(workspace).beat(uptime_seconds=99, active_tasks=1)
    assert etag() == first
    pause(workspace.pk)
    assert etag() != first


def test_a_budget_shows_all_four_figures_with_and_without_a_limit(operator, workspace):
    path = f"/workspaces/{workspace.pk}/budget"
    nothing = {"budget_limit": None, "budget_used": 0, "monthly_spend": 0, "budget_remaining": None}
    assert operator.get(path).json() == nothing | {"budget_action": "notify"}
    AgentCaller(workspace).beat(monthly_spend=700)
    answer = patch(operator, workspace, {"budget_limit": 500}, path="/budget")
    over = {"budget_limit": 500, "budget_used": 700, "monthly_spend": 700, "budget_remaining": -200}
    over |= {"budget_action": "notify"}
    assert answer.json() == operator.get(path).json() == over
    assert patch(operator, workspace, {"budget_limit": None}, path="/budget").json()["budget_remaining"] is None


def test_a_budget_that_can_not_be_enforced_is_stored_and_said_to_be(operator, workspace, monkeypatch):
    agent = AgentCaller(workspace)
    agent.beat(monthly_spend=700)
    with monkeypatch.context() as patched:
        patched.setattr("workspaces.services.watching.budgets.enforce", lambda *_, **__: 1 / 0)
        answer = patch(operator, workspace, {"budget_limit": 500, "budget_action": "pause"}, path="/budget")
    assert (answer.status_code, answer.json()["budget_limit"]) == (200, 500)
    assert ["could not check whether it is spent" in each for each in answer.json()["warnings"]] == [True]
    assert stored(workspace)["status"] == WorkspaceStatus.ONLINE
    assert patch(operator, workspace, {"budget_limit": 600}, path="/budget", If_Match=answer["ETag"]).status_code == 200


def test_a_heartbeat_counts_although_the_budget_can_not_be_enforced_and_the_next_one_enforces_it(
    operator, workspace, monkeypatch
):
    patch(operator, workspace, {"budget_limit": 500, "budget_action": "pause"}, path="/budget")
    agent = AgentCaller(workspace)
    with monkeypatch.context() as patched:
        patched.setattr("workspaces.services.watching.budgets.enforce", lambda *_, **__: 1 / 0)
        assert agent.beat(monthly_spend=700).status_code == 200
    assert operator.get(f"/workspaces/{workspace.pk}/budget").json()["monthly_spend"] == 700
    assert stored(workspace)["status"] == WorkspaceStatus.ONLINE
    assert agent.beat(monthly_spend=700).status_code == 200
    assert stored(workspace)["status"] == WorkspaceStatus.PAUSED


@pytest.mark.parametrize(
    "body", [{}, {"budget_limit": -1}, {"budget_limit": 1.5}, {"budget_limit": MAX_BUDGET_CENTS + 1}]
)
def test_a_wrong_budget_is_refused_by_field(operator, workspace, body):
    answer = patch(operator, workspace, body, path="/budget")
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["budget_limit"])


def test_a_budget_is_changed_only_as_it_was_read(operator, workspace):
    read = operator.get(f"/workspaces/{workspace.pk}/budget")["ETag"]
    patch(operator, workspace, {"budget_limit": 5}, path="/budget", If_Match=read)
    assert patch(operator, workspace, {"budget_limit": 6}, path="/budget", If_Match=read).status_code == 412
    assert stored(workspace)["budget_limit"] == 5


def test_the_state_says_paused_and_deleted(operator):
    workspace = booting()

    def state():
        return operator.get(f"/workspaces/{workspace.pk}/state").json()

    about = {"workspace_id": str(workspace.pk)}
    assert state() == about | {"status": "provisioning", "paused": False, "deleted": False}
    pause(workspace.pk)
    assert state() == about | {"status": "paused", "paused": True, "deleted": False}
    remove(workspace.pk)
    assert state() == about | {"status": "removed", "paused": False, "deleted": True}


@pytest.mark.parametrize("path", ["", "/budget", "/state"])
def test_an_agent_reads_its_own_and_changes_nothing(workspace, path):
    agent = AgentCaller(workspace)
    assert agent.get(f"/workspaces/{workspace.pk}{path}").status_code == 200
    assert agent.get(f"/workspaces/{online().pk}{path}").status_code == 403
    if path != "/state":
        assert patch(agent, workspace, {"x": 1}, path=path).status_code == 403
