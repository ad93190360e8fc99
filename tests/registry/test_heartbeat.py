"""Heartbeats: what they store, which status they change, and how many queries they take."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from events.masking.masker import MASK, Masker
from events.models import Event
from events.names import EventType
from postgres import encryption
from postgres.clock import database_now
from tests.callers import AgentCaller, Caller
from tests.workspaces.factories import booting, external, failed, online
from workspaces.access.secrets import put_secrets
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import MAX_BUDGET_CENTS, Heartbeat, Launch, Workspace
from workspaces.services.watching.liveness import mark_silent_offline

pytestmark = pytest.mark.django_db


def test_a_usual_heartbeat_takes_one_statement_and_one_with_a_text_takes_two():
    agent = AgentCaller(online(parent_id=online(name="parent").pk))
    with CaptureQueriesContext(connection) as queries:
        answer = agent.beat(error_rate=0.0, sample_error="", active_tasks=1, uptime_seconds=60, current_task="")
    assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')
    assert ["workspaces_store_heartbeat" in query["sql"] for query in queries] == [True]
    with CaptureQueriesContext(connection) as queries:
        agent.beat(current_task="reading", sample_error="429", runtime_metadata={"capabilities": {"chat": True}})
    assert ["workspaces_store_heartbeat" in query["sql"] for query in queries] == [False, True]


def test_heartbeats_update_no_index(transactional_db):
    agent = AgentCaller(online())
    heap_only = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'workspaces_heartbeat'"
    with transaction.atomic():
        ((before, hot_before),) = _query(heap_only)
        for uptime in range(20):
            agent.beat(uptime_seconds=uptime, active_tasks=uptime, current_task=f"task {uptime}")
        assert _query(heap_only) == [(before + 20, hot_before + 20)]


@contextmanager
def plans_counted():
    """Count how often Postgres' planner runs for this connection, statements within functions included."""
    plans = []

    def count(diagnostic):
        if "PLANNER STATISTICS" in diagnostic.message_primary:
            plans.append(diagnostic)

    psycopg_connection = connection.connection
    psycopg_connection.add_notice_handler(count)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL log_planner_stats = on; SET LOCAL client_min_messages = log")
    try:
        yield plans
    finally:
        psycopg_connection.remove_notice_handler(count)


def plans_of_a_beat(agent):
    with plans_counted() as plans:
        assert agent.beat(uptime_seconds=1, active_tasks=1).status_code == 200
    return len(plans)


def test_after_the_first_heartbeat_only_the_call_of_the_function_is_planned():
    agents = [AgentCaller(online()) for _ in range(3)]
    for agent in agents:
        agent.beat()
    # Of any workspace, since the plans are generic. An autovacuum meanwhile lets Postgres plan anew once.
    assert [min(plans_of_a_beat(agent) for _ in range(3)) for agent in agents] == [1, 1, 1]


def test_without_generic_plans_each_heartbeat_would_plan_its_statements_anew():
    """Shows that the count above can tell."""
    agent = AgentCaller(online())
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION workspaces_store_heartbeat SET plan_cache_mode = force_custom_plan")
    agent.beat()
    assert min(plans_of_a_beat(agent) for _ in range(3)) > 2


@pytest.mark.parametrize(
    "texts",
    [
        {"current_task": "thinking"},
        {"sample_error": "429", "current_task": "thinking"},
        {"sample_error": "429", "current_task": "thinking", "runtime_metadata": {"capabilities": {"chat": True}}},
        {"runtime_metadata": {"capabilities": {"chat": True}}},
    ],
)
def test_a_heartbeat_with_texts_reads_the_secrets_once(texts):
    agent = AgentCaller(online(secrets={"KEY": "sk-very-secret-value"}))
    with CaptureQueriesContext(connection) as queries:
        assert agent.beat(error_rate=0.0, active_tasks=1, **texts).status_code == 200
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT"]
    assert "workspaces_secret" in queries[0]["sql"]


# Records the server's `synchronous_commit` for the transaction of each heartbeat.
_RECORD_COMMITS = """
CREATE TEMPORARY TABLE commits (setting text);
CREATE FUNCTION pg_temp.note_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO commits VALUES (current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE TRIGGER note_commit AFTER UPDATE ON workspaces_heartbeat FOR EACH ROW EXECUTE FUNCTION pg_temp.note_commit();
SET synchronous_commit = on;
"""
_STOP_RECORDING = """
RESET synchronous_commit;
DROP FUNCTION pg_temp.note_commit() CASCADE;
DROP TABLE commits;
"""


@pytest.fixture
def agent(transactional_db):
    return AgentCaller(online())


@pytest.fixture
def commits(agent):
    """Return a function that lists how each heartbeat since was committed. The tests' server defaults to `off`."""

    def settings_used():
        return [row[0] for row in _query("SELECT setting FROM commits")]

    with connection.cursor() as cursor:
        cursor.execute(_RECORD_COMMITS)
        yield settings_used
        cursor.execute(_STOP_RECORDING)


def _query(query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_a_heartbeat_does_not_wait_for_the_disk_and_later_commits_do(agent, commits):
    agent.beat(error_rate=0.1)
    agent.beat(active_tasks=0, runtime_metadata={"idle_timeout_seconds": 900})
    assert commits() == ["off", "off"]
    assert _query("SHOW synchronous_commit") == [("on",)]


def test_a_transaction_around_a_heartbeat_waits_for_the_disk(agent, commits):
    with transaction.atomic():
        agent.beat(error_rate=0.1)
        assert _query("SHOW synchronous_commit") == [("on",)]
    assert commits() == ["on"]


def test_the_first_heartbeat_of_a_task_waits_for_the_disk(agent, commits):
    for tasks in (0, 1, 2, 0, 1):
        agent.beat(active_tasks=tasks)
    assert commits() == ["off", "on", "off", "off", "on"]


def test_a_heartbeat_stores_its_fields_and_keeps_the_others():
    up = online()
    agent = AgentCaller(up)
    metadata = {"capabilities": {"status_mgmt": True}, "idle_timeout_seconds": 900}
    agent.beat(active_tasks=2, current_task="thinking", monthly_spend=120, runtime_metadata=metadata, error_rate=0.2)
    agent.beat(uptime_seconds=77, current_task="thinking")
    beat = Heartbeat.objects.get(pk=up.pk)
    assert (beat.active_tasks, beat.current_task, beat.monthly_spend, beat.error_rate) == (2, "thinking", 120, 0.2)
    assert (beat.uptime_seconds, beat.runtime_metadata["idle_timeout_seconds"]) == (77, 900)


def test_a_heartbeat_records_no_event_if_nothing_changed():
    up = online()
    before = Event.objects.count()
    assert AgentCaller(up).beat(error_rate=0.3, active_tasks=4).status_code == 200
    assert Event.objects.count() == before
    assert Workspace.objects.get(pk=up.pk).version == up.version


@pytest.mark.parametrize(
    ("sent", "stored"), [(0, 55), (1, 1), (MAX_BUDGET_CENTS, MAX_BUDGET_CENTS), (10**30, MAX_BUDGET_CENTS)]
)
def test_a_spend_of_zero_is_ignored_and_a_huge_one_capped(sent, stored):
    up = online()
    agent = AgentCaller(up)
    assert agent.beat(monthly_spend=55).status_code == 200
    assert agent.beat(monthly_spend=sent).status_code == 200
    assert Heartbeat.objects.get(pk=up.pk).monthly_spend == stored


def test_a_heartbeat_alone_completes_a_boot():
    stuck = booting()
    assert AgentCaller(stuck).beat().status_code == 200
    assert Workspace.objects.get(pk=stuck.pk).status == WorkspaceStatus.ONLINE
    assert Launch.objects.get(pk=stuck.launch_id).outcome == "online"


def test_a_heartbeat_brings_an_offline_workspace_back():
    lost = online()
    Heartbeat.objects.filter(pk=lost.pk).update(last_heartbeat_at=database_now() - timedelta(minutes=10))
    assert len(mark_silent_offline(now=database_now(), limit=timedelta(seconds=180))) == 1
    AgentCaller(lost).beat()
    assert Workspace.objects.get(pk=lost.pk).status == WorkspaceStatus.ONLINE
    assert Event.objects.latest("id").payload["recovered_from"] == "offline"


def test_a_late_heartbeat_undoes_a_deadline_failure():
    late = failed(code=FailureCode.STALLED)
    AgentCaller(late).beat()
    assert Workspace.objects.get(pk=late.pk).status == WorkspaceStatus.ONLINE


def _past_its_grace(workspace):
    Launch.objects.filter(pk=workspace.launch_id).update(teardown_at=database_now() - timedelta(seconds=1))


def _crashed():
    return failed(code=FailureCode.CRASHED)


def _failed_past_its_grace():
    late = failed(code=FailureCode.TIMED_OUT)
    _past_its_grace(late)
    return late


@pytest.mark.parametrize("make", [_crashed, _failed_past_its_grace])
def test_a_heartbeat_of_a_finished_launch_is_stored_and_changes_no_status(make):
    past = make()
    assert AgentCaller(past).beat(uptime_seconds=99).json() == {"status": "ok"}
    stored = Workspace.objects.get(pk=past.pk)
    assert (stored.status, stored.version) == (WorkspaceStatus.FAILED, past.version)
    assert stored.failure_message == past.failure_message
    assert Heartbeat.objects.get(pk=past.pk).uptime_seconds == 99


MANAGED = {"capabilities": {"status_mgmt": True}}


@pytest.mark.parametrize(
    ("beats", "status"),
    [
        ([{"error_rate": 0.5}], "degraded"),
        ([{"error_rate": 0.49}], "online"),
        ([{"error_rate": 1}], "degraded"),
        ([{"runtime_state": "wedged"}], "degraded"),
        ([{"error_rate": 0.9}, {"error_rate": 0.1}], "degraded"),
        ([{"error_rate": 0.9}, {"error_rate": 0.09}], "online"),
        ([{"error_rate": 0.9}, {"uptime_seconds": 5}], "degraded"),
        ([{"error_rate": 0.9}, {"error_rate": 0.0, "runtime_state": "wedged"}], "degraded"),
        ([{"runtime_state": "wedged"}, {"error_rate": 0.0}], "online"),
        ([{"runtime_state": "wedged"}, {"runtime_state": ""}], "online"),
        ([{"error_rate": 0.9, "runtime_metadata": MANAGED}], "online"),
        ([{"runtime_metadata": MANAGED}, {"error_rate": 0.9}], "online"),
        ([{"runtime_state": "wedged", "runtime_metadata": MANAGED}], "degraded"),
        ([{"error_rate": 0.0, "sample_error": "the last one, long past"}], "online"),
    ],
)
def test_error_rate_and_wedge_degrade_and_recover(beats, status):
    up = online()
    agent = AgentCaller(up)
    for beat in beats:
        assert agent.beat(**beat).status_code == 200
    assert Workspace.objects.get(pk=up.pk).status == status


def _silent():
    lost = online()
    Heartbeat.objects.filter(pk=lost.pk).update(last_heartbeat_at=database_now() - timedelta(minutes=10))
    mark_silent_offline(now=database_now(), limit=timedelta(seconds=180))
    return lost


def _timed_out():
    return failed(code=FailureCode.TIMED_OUT)


@pytest.mark.parametrize("make", [booting, external, _silent, _timed_out])
@pytest.mark.parametrize(("symptom", "value"), [("runtime_state", "wedged"), ("error_rate", 1.0)])
def test_a_first_heartbeat_degrades_at_once(make, symptom, value):
    workspace = make()
    assert AgentCaller(workspace).beat(**{symptom: value, "sample_error": "the SDK hangs"}).status_code == 200
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.DEGRADED
    *_, came, degraded = Event.objects.order_by("id")
    assert (came.event_type, degraded.event_type) == (EventType.WORKSPACE_ONLINE, EventType.WORKSPACE_DEGRADED)
    payload = {symptom: value, "sample_error": "the SDK hangs", "version": came.payload["version"] + 1}
    assert degraded.payload == payload


def test_a_first_heartbeat_degrades_an_agent_that_manages_its_status_only_by_a_wedge():
    up, hanging = booting(name="up"), booting(name="hanging")
    AgentCaller(up).beat(error_rate=1.0, runtime_metadata=MANAGED)
    AgentCaller(hanging).beat(runtime_state="wedged", runtime_metadata=MANAGED)
    assert Workspace.objects.get(pk=up.pk).status == WorkspaceStatus.ONLINE
    assert Workspace.objects.get(pk=hanging.pk).status == WorkspaceStatus.DEGRADED


def test_the_event_of_a_degradation_has_its_symptoms():
    up = online()
    agent = AgentCaller(up)
    agent.beat(error_rate=0.8, sample_error="429 from the model")
    event = Event.objects.latest("id")
    assert event.event_type == EventType.WORKSPACE_DEGRADED
    assert event.payload == {"error_rate": 0.8, "sample_error": "429 from the model", "version": up.version + 1}
    agent.beat(error_rate=0.0)
    assert Event.objects.latest("id").payload["recovered_from"] == "degraded"


def test_a_secret_in_a_heartbeat_is_masked_in_the_row_and_the_event():
    up = online()
    put_secrets({"KEY": "sk-very-secret-value"}, workspace_id=up.pk)
    AgentCaller(up).beat(error_rate=0.9, sample_error="401: sk-very-secret-value", current_task="sk-very-secret-value")
    beat = Heartbeat.objects.get(pk=up.pk)
    assert beat.sample_error == "401: ••••••"
    assert beat.current_task == "••••••"
    assert "sk-very" not in str(Event.objects.latest("id").payload)


def test_a_cut_secret_is_masked_in_each_text_of_a_heartbeat():
    up = online()
    put_secrets({"KEY": "sk-very-secret-value"}, workspace_id=up.pk)
    capabilities = {"sk-very-secret-val": True, "chat with people": True}
    texts = {"sample_error": "very-secret-value was refused", "current_task": "it sends sk-very-sec"}
    AgentCaller(up).beat(error_rate=0.0, **texts, runtime_metadata={"capabilities": capabilities})
    beat = Heartbeat.objects.get(pk=up.pk)
    assert beat.sample_error == f"{MASK} was refused"
    assert beat.current_task == f"it sends {MASK}"
    assert beat.runtime_metadata["capabilities"] == {MASK: True, "chat with people": True}


@pytest.mark.parametrize(("credential", "status"), [("unknown", 401), ("of another workspace", 403)])
def test_a_text_with_a_credential_that_is_not_the_workspaces_is_refused_before_a_secret_is_read(
    monkeypatch, credential, status
):
    up = online(secrets={"KEY": "sk-very-secret-value"})
    caller = Caller("x") if credential == "unknown" else AgentCaller(online())
    work = []
    monkeypatch.setattr(encryption, "decrypt", lambda text: work.append(text) or "sk-x")
    monkeypatch.setattr(Masker, "mask_all", lambda self, texts: work.append(texts) or texts)
    report = {"workspace_id": str(up.pk), "current_task": "%" * 262_144, "sample_error": "\\u" * 131_072}
    answer = caller.post("/registry/heartbeat", report)
    assert (answer.status_code, work) == (status, [])
    # With its own token the same report is masked.
    AgentCaller(up).post("/registry/heartbeat", report)
    assert len(work) == 2


def test_a_long_text_is_cut():
    up = online()
    assert AgentCaller(up).beat(sample_error="x" * 500_000).status_code == 200
    assert len(Heartbeat.objects.get(pk=up.pk).sample_error) == 4000


@pytest.mark.parametrize("workspace_id", ["not-an-id", None, 7])
def test_a_heartbeat_without_an_identity_is_refused_and_changes_nothing(workspace_id):
    up = online()
    before = Heartbeat.objects.values().get(pk=up.pk)
    answer = AgentCaller(up).beat(workspace_id=workspace_id)
    assert answer.status_code == 422
    assert "workspace_id" in answer.json()["fields"]
    assert Heartbeat.objects.values().get(pk=up.pk) == before


@pytest.mark.parametrize("field", ["error_rate", "sample_error", "active_tasks", "runtime_state", "runtime_metadata"])
def test_a_null_field_is_ignored(field):
    up = online()
    Heartbeat.objects.filter(pk=up.pk).update(error_rate=0.25, active_tasks=3)
    assert AgentCaller(up).beat(**{field: None}).status_code == 200
    beat = Heartbeat.objects.get(pk=up.pk)
    assert (beat.error_rate, beat.active_tasks) == (0.25, 3)
