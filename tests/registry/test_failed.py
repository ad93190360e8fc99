"""An agent or a watcher reports that a boot has failed."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.masking.masker import LOG_TAIL_BYTES, MASK
from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, online
from workspaces.lifecycle.transitions import FailureCode, FailureSource, WorkspaceStatus
from workspaces.models import ApiScope, Launch, Workspace
from workspaces.services.launching.restart import restart

pytestmark = pytest.mark.django_db


@pytest.fixture
def watcher():
    return holder(ApiScope.WATCH)


def report(watcher, workspace, **body):
    return watcher.post(f"/admin/workspaces/{workspace.pk}/bootstrap-failed", body)


@pytest.mark.parametrize("code", [FailureCode.MISSING_ENV, FailureCode.BAD_CONFIG, FailureCode.CRASHED])
def test_an_agent_s_reason_fails_its_launch(code):
    stuck = booting()
    answer = AgentCaller(stuck).failed(code=code.value, error="It can't.", missing=["API_KEY"], log_tail="the end\n")
    assert answer.content == b'{"status":"ok"}'
    stuck.refresh_from_db()
    assert (stuck.status, stuck.failure_code, stuck.failure_message) == (WorkspaceStatus.FAILED, code, "It can't.")
    event = Event.objects.latest("id")
    assert event.event_type == EventType.WORKSPACE_PROVISION_FAILED
    assert event.payload["missing"] == ["API_KEY"]
    assert (event.payload["source"], event.payload["log_tail"]) == ("agent", "the end\n")


def report_failure(workspace):
    AgentCaller(workspace).failed(error="It has no key.", missing=["API_KEY"], log_tail="the end\n")


def report_bootstrap_failure(workspace):
    report(holder(ApiScope.WATCH), workspace, error="It has no key.", log_tail="the end\n")


def report_step(workspace):
    AgentCaller(workspace).progress(step="It reads its key.")


@pytest.mark.parametrize("way", [report_failure, report_bootstrap_failure, report_step])
def test_secrets_are_read_once_and_before_the_row_is_locked(way):
    stuck = booting(secrets={"KEY": "sk-very-secret-value"})
    with CaptureQueriesContext(connection) as queries:
        way(stuck)
    statements = [query["sql"] for query in queries]
    (reads,) = [at for at, sql in enumerate(statements) if "workspaces_secret_values" in sql and "SELECT" in sql]
    locks = [at for at, sql in enumerate(statements) if "FOR NO KEY UPDATE" in sql]
    assert reads < locks[0]


def test_each_name_that_an_agent_misses_is_masked_also_one_that_was_cut():
    stuck = booting(secrets={"KEY": "SECRET_VALUE_OF_OURS"})
    names = ["FIRST_KEY", "X_SECRET_VALUE_OF_OURS", "X_SECRET_VALUE", "VALUE_OF_OURS", "LAST_NAME"]
    AgentCaller(stuck).failed(code="missing_env", missing=names)
    assert Event.objects.latest("id").payload["missing"] == ["FIRST_KEY", f"X_{MASK}", f"X_{MASK}", MASK, "LAST_NAME"]


def test_a_failed_launch_s_process_is_stopped_at_once():
    stuck = booting()
    AgentCaller(stuck).failed()
    assert Launch.objects.due_for_teardown(now=database_now()).filter(pk=stuck.launch_id).exists()


def test_an_agent_that_fails_twice_or_after_it_was_online_changes_nothing():
    stuck = AgentCaller(booting(name="stuck"))
    stuck.failed()
    up = AgentCaller(online(name="up"))
    before = Event.objects.count()
    for agent in (stuck, up):
        assert agent.failed().content == b'{"status":"ok","no_change":true}'
    assert Event.objects.count() == before


def test_a_watcher_fails_the_current_launch(watcher):
    stuck = booting()
    assert report(watcher, stuck, error="EC2 says: terminated").content == b'{"ok":true}'
    stuck.refresh_from_db()
    assert stuck.failure_source == FailureSource.BOOTSTRAP_WATCHER
    assert stuck.failure_message == "EC2 says: terminated"


def test_an_empty_error_becomes_a_sentence_that_points_to_the_log(watcher):
    stuck = booting()
    report(watcher, stuck, error="  ", log_tail="Traceback")
    assert "log" in Workspace.objects.get(pk=stuck.pk).failure_message


def test_a_watcher_s_second_report_changes_nothing(watcher):
    stuck = booting()
    report(watcher, stuck)
    before = Event.objects.count()
    assert report(watcher, stuck).content == b'{"ok":true,"no_change":true}'
    assert report(watcher, online(name="up")).json() == {"ok": True, "no_change": True}
    assert Event.objects.filter(event_type=EventType.WORKSPACE_PROVISION_FAILED).count() == 1
    assert Event.objects.count() > before


def test_a_report_about_an_earlier_launch_does_not_fail_the_current_one(watcher):
    stuck = booting()
    restart(workspace_id=stuck.pk, now=database_now())
    assert report(watcher, stuck, launch_id=str(stuck.launch_id)).json() == {"ok": True, "no_change": True}
    present = Workspace.objects.get(pk=stuck.pk)
    assert present.status == WorkspaceStatus.PROVISIONING
    assert report(watcher, stuck, launch_id=str(present.launch_id)).json() == {"ok": True}


def test_a_log_keeps_its_end_on_a_character_and_loses_its_nuls(watcher):
    stuck = booting()
    assert report(watcher, stuck, log_tail="ä" * 20_000 + "\0the \ud800 end").status_code == 200
    tail = Workspace.objects.get(pk=stuck.pk).failure_log_tail
    assert tail.endswith("ä" + "the ? end")
    assert "\0" not in tail
    assert LOG_TAIL_BYTES - 4 < len(tail.encode()) <= LOG_TAIL_BYTES


def test_an_unknown_workspace_is_not_found(watcher):
    for path in (str(uuid.uuid4()), "nonsense"):
        assert watcher.post(f"/admin/workspaces/{path}/bootstrap-failed", {}).status_code == 404


def test_no_path_of_the_api_is_redirected_to_one_with_a_slash(watcher):
    answer = watcher.post("/workspaces/", {})
    refusal = {"error": "There is nothing at this address.", "code": "not_found"}
    assert (answer.status_code, answer.json()) == (404, refusal)


def test_a_long_step_is_cut():
    stuck = booting()
    assert AgentCaller(stuck).progress(step="x" * 5000).status_code == 200
    assert Workspace.objects.get(pk=stuck.pk).progress_step == "x" * 200
