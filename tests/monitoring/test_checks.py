"""The system checks."""

from types import SimpleNamespace

import pytest
from django.core.checks import run_checks
from django.db import connection
from psycopg import IsolationLevel

from monitoring import checks
from workspaces.deadlines.policy import BOOT_LIMITS, BootLimit
from workspaces.provisioners.process import namespaces


def test_the_project_passes_its_own_checks():
    assert run_checks() == []


@pytest.mark.parametrize(
    ("watcher", "slack", "findings"), [(25 * 60, 5 * 60, 0), (480, 120, 0), (600, 0, 1), (70, 30, 1), (650, -50, 1)]
)
def test_the_watcher_limit_is_shorter_than_the_sweep_limit_by_at_most_a_fifth(monkeypatch, watcher, slack, findings):
    monkeypatch.setitem(BOOT_LIMITS, "odd", BootLimit(watcher_seconds=watcher, slack_seconds=slack))
    found = checks.check_boot_limits()
    assert [problem.id for problem in found] == ["slipway.E001"] * findings


@pytest.mark.parametrize(("interval", "limit", "findings"), [(30, 180, 0), (60, 180, 0), (61, 180, 1), (30, 89, 1)])
def test_a_heartbeat_limit_leaves_room_for_lost_beats(settings, interval, limit, findings):
    settings.HEARTBEAT_INTERVAL_SECONDS, settings.HEARTBEAT_LIMIT_SECONDS = interval, limit
    found = checks.check_heartbeats()
    assert [problem.id for problem in found] == ["slipway.E002"] * findings
    assert all(str(3 * interval) in (problem.hint or "") for problem in found)


@pytest.mark.parametrize(
    ("level", "findings"),
    [(None, 0), (IsolationLevel.READ_COMMITTED, 0), (IsolationLevel.SERIALIZABLE, 1), ("serializable", 1)],
)
def test_another_isolation_level_in_the_settings_is_an_error(settings, monkeypatch, level, findings):
    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "isolation_level", level)
    assert [problem.id for problem in checks.check_isolation_option()] == ["slipway.E003"] * findings


@pytest.mark.django_db
def test_a_role_whose_transactions_are_serializable_is_found():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL default_transaction_isolation = 'serializable'")
    found = checks.check_isolation_in_force(databases=["default"])
    assert [problem.id for problem in found] == ["slipway.E003"]
    assert "serializable" in found[0].msg


@pytest.mark.django_db
def test_the_database_of_the_suite_passes():
    assert checks.check_isolation_in_force(databases=["default"]) == []
    assert checks.check_postgres_version(databases=["default"]) == []


def test_no_database_is_queried_unless_the_check_names_it():
    assert checks.check_isolation_in_force(databases=None) == []
    assert checks.check_postgres_version(databases=None) == []


def test_a_postgres_that_is_too_old_is_an_error(monkeypatch):
    old = SimpleNamespace(pg_version=130_012, ensure_connection=lambda: None)
    monkeypatch.setattr(checks, "connections", {"default": old})
    found = checks.check_postgres_version(databases=["default"])
    assert [problem.id for problem in found] == ["slipway.E004"]
    assert "13" in found[0].msg


@pytest.mark.django_db
def test_a_missing_catalog_folder_and_a_broken_template_are_named(settings, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("name: [unclosed\n")
    settings.CATALOG_DIRS = [tmp_path, tmp_path / "nowhere"]
    found = checks.check_catalog()
    assert [problem.id for problem in found] == ["slipway.W001", "slipway.W002"]
    assert "nowhere" in found[0].msg
    assert "broken" in found[1].msg
    assert "line" in found[1].msg


@pytest.mark.parametrize(
    ("provisioner", "is_allowed", "findings"),
    [("process", False, 0), ("process", True, 0), ("simulated", True, 0), ("simulated", False, 1)],
)
def test_the_simulator_is_refused_unless_a_setting_allows_it(settings, provisioner, is_allowed, findings):
    settings.PROVISIONER, settings.ALLOW_SIMULATOR = provisioner, is_allowed
    found = [problem for problem in run_checks() if problem.id == "slipway.E005"]
    assert len(found) == findings
    assert all("ALLOW_SIMULATOR" in (problem.hint or "") for problem in found)


@pytest.mark.parametrize(
    ("provisioner", "wanted", "allowed", "findings"),
    [
        ("process", True, namespaces.PID, []),
        ("process", True, 0, ["slipway.W004"]),
        ("process", False, namespaces.PID, ["slipway.W004"]),
        ("simulated", True, 0, []),
    ],
)
def test_a_deployment_is_warned_that_this_host_contains_no_launch(
    settings, monkeypatch, provisioner, wanted, allowed, findings
):
    settings.PROVISIONER, settings.AGENT_NAMESPACES = provisioner, wanted
    monkeypatch.setattr(namespaces, "allowed", lambda: allowed)
    assert [problem.id for problem in checks.check_containment()] == findings


def test_a_deployment_is_warned_that_the_process_backend_isolates_nothing(settings):
    assert [problem.id for problem in checks.check_isolating_backend()] == ["slipway.W003"]
    settings.PROVISIONER = "docker"
    assert checks.check_isolating_backend() == []
