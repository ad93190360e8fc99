"""Health, readiness and metrics."""

import re
from datetime import timedelta

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext

from events.models import Event
from events.relay import number_committed
from monitoring import readiness
from postgres.clock import database_now
from postgres.connections import connection_parameters
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, failed, online, queued
from tests.workspaces.unguarded import unguarded
from workspaces.deadlines.policy import Policy
from workspaces.models import Launch, SweepRun
from workspaces.models.incidents import Component
from workspaces.services.watching.outages import record_liveness
from workspaces.services.watching.sweep import sweep_stuck


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let no check be late, and no event be waiting, because the machine is busy."""
    monkeypatch.setattr(readiness, "_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(readiness, "MAX_RELAY_LAG_SECONDS", 600)


def test_health_does_not_query_the_database(client):
    # Without the marker, a query would fail this test.
    answer = client.get("/health")
    assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')


@pytest.mark.django_db
def test_a_process_that_has_everything_it_needs_is_ready(client):
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert set(answer.json()["checks"]) == {"database", "migrations", "enum", "relay", "sweep", "redis"}
    assert all(check["ok"] and check["detail"] for check in answer.json()["checks"].values())


@pytest.mark.django_db
def test_events_that_wait_for_the_relay_make_it_unready(client):
    booting()
    assert client.get("/ready").status_code == 200
    began = database_now()
    with unguarded():
        Event.objects.update(created_at=began - timedelta(seconds=601))
    answer = client.get("/ready")
    most = 601 + (database_now() - began).total_seconds()
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert failing(answer) == ["relay"]
    waited = re.match(r"Events have waited for (\d+) s:", answer.json()["checks"]["relay"]["detail"])
    assert 601 <= int(waited[1]) <= round(most)


@pytest.mark.django_db
def test_a_missing_migration_makes_it_unready(client):
    MigrationRecorder.Migration.objects.filter(app="workspaces").last().delete()
    answer = client.get("/ready")
    assert (answer.status_code, failing(answer)) == (503, ["migrations"])
    assert "manage.py migrate" in answer.json()["checks"]["migrations"]["detail"]


@pytest.mark.django_db
def test_a_status_that_the_database_lacks_makes_it_unready_and_is_named(client):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'hibernated' TO 'asleep'")
    answer = client.get("/ready")
    assert (answer.status_code, failing(answer)) == (503, ["enum"])
    detail = answer.json()["checks"]["enum"]["detail"]
    assert detail == "workspace_status lacks hibernated: run `manage.py migrate`."


@pytest.mark.django_db
def test_a_status_that_only_the_database_knows_leaves_it_ready_and_is_named(client):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status ADD VALUE 'quarantined'")
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert "also has quarantined" in answer.json()["checks"]["enum"]["detail"]


@pytest.mark.django_db
def test_a_redis_that_is_away_degrades_it_and_is_named_without_its_address(client, settings):
    settings.REDIS_URL = "redis://:hunter2@127.0.0.1:1/0"
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert failing(answer) == ["redis"]
    assert b"hunter2" not in answer.content


@pytest.mark.django_db
def test_a_database_that_is_away_makes_it_unready_and_leaves_it_healthy(client, monkeypatch):
    def refuse(*_, **__):
        raise OperationalError("password=hunter2") from psycopg.OperationalError("password=hunter2")

    monkeypatch.setattr(connection, "cursor", refuse)
    client.raise_request_exception = False
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert failing(answer) == ["database", "migrations", "enum", "relay", "sweep"]
    assert b"hunter2" not in answer.content
    metrics = client.get("/metrics")
    assert (metrics.status_code, metrics["Retry-After"]) == (503, "2")
    assert b"hunter2" not in metrics.content
    assert client.get("/health").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_metrics_count_the_fleet_and_name_no_workspace(client):
    online(name="a-name-of-its-own"), booting(), failed()
    queued(now=database_now() - timedelta(seconds=100))
    unpositioned = Event.objects.count()
    first = client.get("/metrics")
    assert sample(first, 'slipway_workspaces{runtime="echo",status="online"}') == 1
    assert sample(first, 'slipway_workspaces{runtime="echo",status="provisioning"}') == 2
    assert sample(first, 'slipway_launches{failure_code="crashed",outcome="failed"}') == 1
    assert sample(first, "slipway_events_unpositioned") == unpositioned
    assert 100 <= sample(first, "slipway_oldest_queued_seconds") < 200
    number_committed()
    assert sample(client.get("/metrics"), "slipway_events_last_position") == unpositioned
    assert b"a-name-of-its-own" not in first.content


@pytest.mark.django_db
def test_the_metrics_count_no_launch_of_the_day_before(client):
    Launch.objects.filter(pk=failed().launch_id).update(queued_at=database_now() - timedelta(hours=25))
    assert b'slipway_launches{failure_code="crashed"' not in client.get("/metrics").content


def test_the_metrics_can_be_closed(client, settings):
    settings.METRICS_ENABLED = False
    answer = client.get("/metrics")
    assert answer.status_code == 404
    assert answer.json() == {"error": "METRICS_ENABLED=false closes the metrics.", "code": "not_found"}


@pytest.mark.django_db
@pytest.mark.parametrize("rows", [3, 30])
def test_a_scrape_takes_as_many_queries_for_a_small_fleet_as_for_a_large_one(client, rows):
    for number in range(rows):
        queued(name=f"w{number}")
    with CaptureQueriesContext(connection) as queries:
        client.get("/metrics")
    assert len(queries) == 13


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_these_pages_answer_only_get_and_head(client, path):
    answer = client.post(path)
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


@pytest.mark.django_db
def test_the_documentation_is_for_operators(client, admin_client):
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert client.get("/api/docs").status_code == 302
    for headers in ({}, {"Accept": "*/*"}, browser):
        assert client.get("/api/openapi.json", headers=headers).status_code == (302 if headers is browser else 401)
        assert admin_client.get("/api/openapi.json", headers=headers).status_code == 200
    assert admin_client.get("/api/docs").status_code == 200
    assert "/registry/heartbeat" in admin_client.get("/api/openapi.json").json()["paths"]


def failing(answer):
    return [name for name, check in answer.json()["checks"].items() if not check["ok"]]


def sample(answer, name):
    lines = [line for line in answer.content.decode().splitlines() if line.startswith(f"{name} ")]
    assert lines, f"{name} is not among the metrics"
    return float(lines[0].rpartition(" ")[2])


@pytest.mark.django_db
def test_a_sweep_that_has_not_run_for_long_degrades_but_keeps_the_process_in_service(client):
    now = database_now()
    sweep_stuck(now=now, policy=Policy())
    assert client.get("/ready").json()["status"] == "ready"
    SweepRun.objects.update(ran_at=now - timedelta(minutes=10))
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert failing(answer) == ["sweep"]
    ago = re.match(r"The last sweep ran (\d+) s ago: ", answer.json()["checks"]["sweep"]["detail"])
    assert 600 <= int(ago[1]) <= round(600 + (database_now() - now).total_seconds())


@pytest.mark.django_db
def test_overdue_workspaces_before_the_first_sweep_are_noticed(client):
    booting(now=database_now() - timedelta(minutes=20))
    assert failing(client.get("/ready")) == ["sweep"]


@pytest.mark.django_db
def test_the_metrics_describe_the_last_sweep(client):
    assert b"slipway_sweep_" not in client.get("/metrics").content
    began = database_now()
    late, _ = booting(now=began - timedelta(minutes=11)), booting()
    sweep_stuck(now=database_now(), policy=Policy())
    answer = client.get("/metrics")
    took = (database_now() - began).total_seconds()
    assert late.status == "provisioning"
    assert sample(answer, "slipway_sweep_flips") == sample(answer, "slipway_sweep_looked_at") == 1
    assert 60 <= sample(answer, "slipway_sweep_lag_seconds") <= 60 + took
    assert 0 <= sample(answer, "slipway_sweep_age_seconds") <= took


@pytest.fixture
def no_recent_write(monkeypatch):
    monkeypatch.setattr("monitoring.readiness._last_write", [float("-inf")])


@pytest.mark.django_db(transaction=True)
def test_a_database_that_refuses_writes_makes_it_unready(client, no_recent_write):
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        answer = client.get("/ready")
    finally:
        connection.close()
    assert (answer.status_code, failing(answer)) == (503, ["database"])
    detail = answer.json()["checks"]["database"]["detail"]
    assert detail == "It answers, but refuses to write (ReadOnlySqlTransaction)."
    assert client.get("/ready").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_row_that_someone_keeps_locked_leaves_it_ready(client, no_recent_write):
    record_liveness(part=Component.WEB, now=database_now())
    parameters = {**connection_parameters(application_name="psql"), "autocommit": False}
    with psycopg.connect(**parameters) as psql:
        psql.execute("SELECT FROM workspaces_liveness FOR UPDATE")
        answer = client.get("/ready")
        psql.rollback()
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/workspaces", "/admin/login/", "/nonsense", "/"])
def test_an_unknown_host_is_a_bad_request(client, path):
    answer = client.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert b"Traceback" not in answer.content
