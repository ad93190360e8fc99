"""The operators' HTTP API."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.relay import number_committed
from tests.callers import AgentCaller, Caller, holder
from tests.workspaces.factories import booting, config_for, failed, online, queued
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import ApiScope, Heartbeat, Launch, Secret, Workspace
from workspaces.operations import OPERATIONS
from workspaces.services.stopping.teardown import confirm_stopped

pytestmark = pytest.mark.django_db

CALLS = [operation.name for operation in OPERATIONS if operation.method == "POST" and not operation.is_admin_only]
ITEM_FIELDS = {
    *("id", "name", "role", "tier", "status", "runtime", "url", "agent_card", "parent_id", "active_tasks"),
    *("template", "model", "backend", "labels"),
    *(
        "uptime_seconds",
        "last_error_rate",
        "last_sample_error",
        "current_task",
        "runtime_state",
        "idle_timeout_seconds",
        "capabilities",
        "budget_limit",
        "budget_action",
        "monthly_spend",
    ),
    *(
        "provision_timeout_ms",
        "created_at",
        "x",
        "y",
        "version",
        "phase",
        "progress_step",
        "progress_detail",
        "deadline_at",
        "held",
        "queue_position",
    ),
    *("hibernation_idle_minutes", "provision_timeout_seconds", "failure", "secret_sets", "needs_restart"),
    *("restart_policy", "restart_attempts", "restart_due_at", "paused_by", "stopping", "crash_loop"),
}


@pytest.fixture
def reader():
    return holder(ApiScope.READ)


@pytest.fixture
def operator():
    return holder(ApiScope.OPERATE)


def create(operator, **fields):
    return operator.post("/workspaces", {"name": "w", "config": config_for("echo")} | fields)


def test_the_list_is_an_array_of_items_by_name_with_all_their_fields(reader):
    online(name="b"), booting(name="a")
    answer = reader.get("/workspaces")
    assert [entry["name"] for entry in answer.json()] == ["a", "b"]
    assert all(set(entry) == ITEM_FIELDS for entry in answer.json())
    assert b'"status":"online"' in answer.content


def test_an_item_shows_deadline_and_limit_in_force(reader, settings):
    slow = booting(runtime="hermes")
    entry = reader.get(f"/workspaces/{slow.pk}").json()
    assert entry["provision_timeout_ms"] == 30 * 60 * 1000
    assert entry["phase"] == "booting"
    settings.PROVISION_TIMEOUT_SECONDS = 60
    hurried = reader.get(f"/workspaces/{slow.pk}").json()
    assert hurried["provision_timeout_ms"] == 60_000
    assert hurried["deadline_at"] < entry["deadline_at"]


def test_an_item_shows_what_the_agent_says_of_its_runtime(reader):
    up = online()
    path = f"/workspaces/{up.pk}"
    names = ("runtime_state", "idle_timeout_seconds", "capabilities")
    entry = reader.get(path).json()
    assert [entry[name] for name in names] == ["", None, {}]
    metadata = {"capabilities": {"status_mgmt": True, "retry": False}, "idle_timeout_seconds": 600}
    AgentCaller(up).beat(runtime_state="wedged", runtime_metadata=metadata)
    for entry in (reader.get(path).json(), *reader.get("/workspaces").json()):
        assert [entry[name] for name in names] == ["wedged", 600, {"status_mgmt": True, "retry": False}]


def test_an_item_has_its_failure_where_old_consoles_look_too(reader):
    broken = failed(code=FailureCode.CRASHED)
    Heartbeat.objects.filter(pk=broken.pk).update(sample_error="an older error")
    entry = reader.get(f"/workspaces/{broken.pk}").json()
    assert entry["last_sample_error"] == "It broke."
    assert entry["failure"]["code"] == "crashed"
    assert entry["failure"]["log_tail"] == "last words"
    assert entry["failure"]["source"] == "bootstrap_watcher"


def test_the_list_omits_removed_workspaces_by_default(reader, operator):
    gone, here = booting(name="gone"), booting(name="here")
    operator.delete(f"/workspaces/{gone.pk}")
    assert [entry["name"] for entry in reader.get("/workspaces").json()] == ["here"]
    assert len(reader.get("/workspaces", include_removed="true").json()) == 2
    assert [entry["id"] for entry in reader.get("/workspaces", status="removed").json()] == [str(gone.pk)]
    answer = reader.get(f"/workspaces/{gone.pk}")
    assert (answer.status_code, answer.json()["code"]) == (410, "removed")
    assert reader.get(f"/workspaces/{gone.pk}", include_removed="true").json()["status"] == "removed"
    assert here.status == WorkspaceStatus.PROVISIONING


def test_the_list_can_be_narrowed_to_a_status(reader):
    online(name="up"), booting(name="coming")
    assert [entry["name"] for entry in reader.get("/workspaces", status="online").json()] == ["up"]


@pytest.mark.django_db(transaction=True)
def test_the_list_reflects_every_event_up_to_its_position(reader):
    booting()
    number_committed()
    answer = reader.get("/workspaces")
    assert answer["X-Position"] == str(len(reader.get("/events", after=0).json()))
    assert int(answer["X-Position"]) > 0


@pytest.mark.parametrize("rows", [3, 30])
def test_the_list_takes_four_queries_however_long_it_is(reader, rows):
    for number in range(rows):
        queued(name=f"w{number:02}")
    with CaptureQueriesContext(connection) as queries:
        assert len(reader.get("/workspaces").json()) == rows
    # The key, the position, the places in the queue, the rows.
    assert len(queries) == 4


def test_create_queues_a_launch_and_returns_the_id(operator):
    answer = create(operator, secrets={"API_KEY": "x" * 20}, labels={"team": "blue"}, provision_timeout_seconds=90)
    assert answer.status_code == 201
    made = Workspace.objects.get(pk=answer.json()["id"])
    assert (answer.json()["status"], made.status) == ("provisioning", WorkspaceStatus.PROVISIONING)
    assert (made.labels, made.provision_timeout_seconds) == ({"team": "blue"}, 90)
    assert Secret.objects.get(workspace=made).name == "API_KEY"


def test_create_hands_the_launch_to_the_workers(operator, django_capture_on_commit_callbacks, monkeypatch):
    sent = []
    monkeypatch.setattr("celery.app.task.Task.apply_async", lambda self, kwargs: sent.append(kwargs))
    with django_capture_on_commit_callbacks(execute=True):
        made = create(operator).json()
    launch = Launch.objects.get(workspace_id=made["id"])
    assert sent == [{"workspace_id": made["id"], "launch_id": str(launch.pk)}]


def test_an_external_workspace_gets_what_its_agent_needs_once(operator, settings):
    answer = operator.post("/workspaces", {"name": "mine", "external": True}).json()
    assert answer["status"] == "awaiting_agent"
    connected = answer["connection"]
    assert connected["registry_endpoint"] == f"{settings.PLATFORM_URL}/registry/register"
    agent = Caller(connected["auth_token"])
    body = {"id": answer["id"], "url": "http://localhost:9", "agent_card": {}}
    assert agent.post("/registry/register", body).json() == {"status": "registered"}
    assert Workspace.objects.get(pk=answer["id"]).status == WorkspaceStatus.ONLINE


def test_an_external_workspace_with_a_url_is_online(operator):
    answer = operator.post("/workspaces", {"name": "mine", "external": True, "url": "http://localhost:8080"})
    assert answer.json()["status"] == "online"


def test_an_item_shows_the_launch_that_is_to_be_stopped(operator):
    up = online()
    assert operator.get(f"/workspaces/{up.pk}").json()["stopping"] is None
    operator.post(f"/workspaces/{up.pk}/pause")
    stopping = operator.get(f"/workspaces/{up.pk}").json()["stopping"]
    assert (stopping["launch_id"], stopping["reason"], stopping["attempts"]) == (str(up.launch_id), "paused", 0)
    assert stopping["deadline_at"] > stopping["meant_at"]
    confirm_stopped(launch_id=up.launch_id, now=up.created_at)
    assert operator.get("/workspaces").json()[0]["stopping"] is None


def test_pause_and_resume_count_the_descendants(operator):
    parent = online(name="parent")
    booting(name="child", parent_id=parent.pk)
    paused = operator.post(f"/workspaces/{parent.pk}/pause").json()
    assert (paused["status"], paused["went_along"], paused["left"]) == ("paused", 1, [])
    resumed = operator.post(f"/workspaces/{parent.pk}/resume").json()
    assert (resumed["status"], resumed["went_along"]) == ("provisioning", 1)


def test_busy_workspace_hibernates_only_by_force_and_wakes(operator):
    busy = online(name="busy")
    Heartbeat.objects.filter(pk=busy.pk).update(active_tasks=1)
    refused = operator.post(f"/workspaces/{busy.pk}/hibernate")
    assert (refused.status_code, refused.json()["code"]) == (409, "transition_refused")
    assert "1 active tasks" in refused.json()["error"]
    assert operator.post(f"/workspaces/{busy.pk}/hibernate?force=true").json()["status"] == "hibernating"
    assert operator.post(f"/workspaces/{busy.pk}/wake").status_code == 409
    confirm_stopped(launch_id=busy.launch_id, now=busy.created_at)
    assert operator.post(f"/workspaces/{busy.pk}/wake").json()["status"] == "provisioning"


def test_a_restart_policy_is_stored_and_an_unknown_one_refused(operator):
    made = create(operator, restart_policy="never").json()
    assert operator.get(f"/workspaces/{made['id']}").json()["restart_policy"] == "never"
    refused = create(operator, restart_policy="always")
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["restart_policy"])


def test_restart_begins_a_new_launch(operator):
    up = online()
    answer = operator.post(f"/workspaces/{up.pk}/restart")
    assert (answer.status_code, answer.json()["status"]) == (200, "provisioning")
    assert Workspace.objects.get(pk=up.pk).launch_id != up.launch_id


def test_restart_of_an_external_workspace_replaces_its_token(operator):
    made = operator.post("/workspaces", {"name": "mine", "external": True, "url": "http://localhost:8080"}).json()
    again = operator.post(f"/workspaces/{made['id']}/restart").json()
    assert again["status"] == "awaiting_agent"
    beat = {"workspace_id": made["id"]}
    old = Caller(made["connection"]["auth_token"]).post("/registry/heartbeat", beat)
    assert (old.status_code, old.json()["code"]) == (401, "superseded")
    assert Caller(again["connection"]["auth_token"]).post("/registry/heartbeat", beat).status_code == 200


def test_cancel_fails_the_launch_and_names_the_operator(operator):
    stuck = booting()
    assert operator.post(f"/workspaces/{stuck.pk}/cancel").json()["status"] == "failed"
    stuck.refresh_from_db()
    assert stuck.failure_code == FailureCode.CANCELLED
    assert "the API key script" in stuck.failure_message


def test_cancel_is_refused_if_nothing_is_launching(operator):
    answer = operator.post(f"/workspaces/{online(name='up').pk}/cancel")
    assert (answer.status_code, answer.json()["workspace_status"]) == (409, "online")
    assert "up is online" in answer.json()["error"]


def test_remove_of_a_parent_needs_confirmation_and_removes_its_children(operator):
    parent = booting(name="parent")
    child = booting(name="child", parent_id=parent.pk)
    refused = operator.delete(f"/workspaces/{parent.pk}")
    assert refused.status_code == 409
    assert refused.json()["children"] == [{"id": str(child.pk), "name": "child"}]
    answer = operator.delete(f"/workspaces/{parent.pk}?confirm=true")
    assert answer.content == b'{"status":"removed","cascade_deleted":1}'
    assert Workspace.objects.filter(status=WorkspaceStatus.REMOVED).count() == 2
    assert operator.delete(f"/workspaces/{parent.pk}?confirm=true").status_code == 410


@pytest.mark.parametrize("call", CALLS)
def test_a_removed_workspace_is_gone_for_every_operation(operator, call):
    gone = booting()
    operator.delete(f"/workspaces/{gone.pk}")
    answer = operator.post(f"/workspaces/{gone.pk}/{call}")
    assert (answer.status_code, answer.json()["code"]) == (410, "removed")


def test_an_unknown_id_is_not_found(reader, operator):
    for path in (f"/workspaces/{uuid.uuid4()}", "/workspaces/nonsense", "/events/nonsense"):
        answer = reader.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for call in CALLS:
        assert operator.post(f"/workspaces/{uuid.uuid4()}/{call}").status_code == 404
    assert operator.delete(f"/workspaces/{uuid.uuid4()}").status_code == 404
