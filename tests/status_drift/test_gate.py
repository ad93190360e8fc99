"""The gate as a whole: green here, in time, and loud where it has nothing to look at."""

import json
import time
from dataclasses import dataclass
from io import StringIO

import pytest
from django.conf import settings
from django.core.checks.registry import registry
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations import Migration, RunPython
from django.db.models import TextChoices

from postgres.enum_operations import AddEnumValue
from status_drift import completeness
from status_drift.completeness import filter_values, migration_findings, status_findings
from status_drift.enum_terms import EnumTerm, native_enums
from status_drift.gate import scan_source, static_report
from status_drift.management.commands import check_status_drift
from status_drift.sources import parse
from workspaces.lifecycle import transitions, trigger
from workspaces.lifecycle.transitions import TRANSITIONS, Verb, WorkspaceStatus

MAX_SECONDS = 5


def test_nothing_has_drifted_in_this_project_and_it_takes_no_more_than_five_seconds():
    start = time.process_time()
    report = static_report(settings.BASE_DIR)
    assert [str(finding) for finding in report.findings] == []
    assert time.process_time() - start < MAX_SECONDS
    assert report.files > 100
    assert report.statements > 20
    assert report.mentions > 100


def test_a_violation_planted_in_a_copy_of_the_project_is_found_with_its_file_and_line(tmp_path):
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "planted.py").write_text("x = 1\nrows.update(status='failed')\n")
    messages = [str(finding) for finding in static_report(tmp_path).findings]
    assert any(message.startswith("registry/planted.py:2: The status 'failed'") for message in messages)


def test_a_violation_planted_in_a_function_s_sql_file_is_found_with_its_file_and_line(tmp_path):
    (tmp_path / "events" / "sql").mkdir(parents=True)
    (tmp_path / "events" / "sql" / "planted.sql").write_text(
        "-- Counts broken workspaces.\n"
        "CREATE OR REPLACE FUNCTION planted() RETURNS integer LANGUAGE plpgsql AS $$\n"
        "BEGIN\n"
        "    RETURN (SELECT count(*) FROM workspaces_workspace WHERE status = 'failed');\n"
        "END\n"
        "$$;\n"
    )
    messages = [str(finding) for finding in static_report(tmp_path).findings]
    assert any(message.startswith("events/sql/planted.sql:4: The status 'failed'") for message in messages)


def test_a_gate_that_finds_nothing_to_check_is_not_green(tmp_path):
    messages = [finding.message for finding in static_report(tmp_path).findings]
    assert "The gate found no file to check." in messages
    assert "The gate found no SQL statement to check." in messages
    assert "The gate found no place that speaks of a status to check." in messages


def test_the_gate_guards_the_native_enum_of_the_workspace():
    (term,) = native_enums()
    assert term.type_name == "workspace_status"
    assert term.field_names == {"status"}
    assert set(term.members) == set(WorkspaceStatus.values)


@dataclass(frozen=True)
class Planted:
    """A member that nobody thought of any further."""

    value: str = "quarantined"
    label: str = "Quarantined"


@pytest.mark.parametrize("lacking", ["row in TRANSITIONS", "event", "colour", "entry in the admin's status filter"])
def test_a_status_that_lacks_something_is_named(lacking):
    messages = [finding.message for finding in status_findings([*WorkspaceStatus, Planted()])]
    assert any(f"quarantined has no {lacking}" in message for message in messages)


def test_a_status_without_a_label_is_named():
    nameless = Planted(label=" ")
    assert "The status quarantined has no label." in [one.message for one in status_findings([nameless])]


def test_a_status_that_no_row_of_the_table_names_is_found():
    rows = [row for row in TRANSITIONS if row.target != WorkspaceStatus.HIBERNATED]
    rows = [row for row in rows if WorkspaceStatus.HIBERNATED not in row.sources]
    messages = [finding.message for finding in status_findings(transitions=rows)]
    assert "The status hibernated has no row in TRANSITIONS." in messages


def test_the_admins_filter_offers_every_status():
    assert set(WorkspaceStatus.values) <= set(filter_values())


def test_the_migrations_end_with_the_codes_enums_and_moves():
    assert migration_findings() == []


def enum_of(**members):
    return TextChoices("Planted", {name.upper(): value for name, value in members.items()})


ALL = {status.name: status.value for status in WorkspaceStatus}
DIFFERING = {
    "a member that no migration adds": (
        {**ALL, "quarantined": "quarantined"},
        "The migrations' workspace_status lacks quarantined.",
    ),
    "a value that the code gave up": (
        {name: value for name, value in ALL.items() if value != "degraded"},
        "The code's workspace_status lacks degraded, which a migration adds.",
    ),
    "another order": (dict(reversed(ALL.items())), "The migrations' workspace_status has another order"),
}


@pytest.mark.parametrize(("members", "message"), DIFFERING.values(), ids=DIFFERING.keys())
def test_an_enum_that_the_migrations_do_not_end_with_is_named(members, message, monkeypatch):
    bound = {"workspace_status": ("workspaces", enum_of(**members))}
    monkeypatch.setattr(completeness, "bound_enums", lambda: bound)
    (finding,) = migration_findings()
    assert finding.message.startswith(message)


def test_a_move_that_the_migrations_guard_does_not_know_is_named(monkeypatch):
    rows = [row for row in TRANSITIONS if row.verb != Verb.WAKE]
    monkeypatch.setattr(transitions, "TRANSITIONS", rows)
    monkeypatch.setattr(
        transitions, "allowed_moves", lambda: {(source, row.target) for row in rows for source in row.sources}
    )
    monkeypatch.setattr(trigger, "allowed_moves", transitions.allowed_moves)
    assert [finding.message for finding in migration_findings()] == [
        "The move hibernated → provisioning is only in the migrations."
    ]


def test_a_migration_that_adds_a_value_and_does_more_is_named(monkeypatch):
    adding = AddEnumValue("workspace_status", "quarantined", after="failed")
    crowded = Migration("0099_crowded", "workspaces")
    crowded.operations = [adding, RunPython(RunPython.noop)]
    monkeypatch.setattr(completeness, "operations", lambda graph: [(crowded, adding)])
    (finding,) = migration_findings()
    assert finding.message == "workspaces.0099_crowded does more than add a value."


def test_every_native_enum_is_guarded_by_the_name_of_its_field():
    kind = EnumTerm(
        type_name="job_kind", members={"slow": "Kind.SLOW"}, field_names=frozenset({"kind"}), tables=frozenset({"job"})
    )
    text = "row.kind = 'slow'\ncursor.execute(\"UPDATE job SET kind = 'slow'\")\nrow.status = 'slow'\n"
    found = scan_source(parse(text, path="workspaces/planted.py"), terms=[*native_enums(), kind], events={}).findings
    assert [(one.line, one.fix) for one in found] == [(1, "Use Kind.SLOW."), (2, "Pass Kind.SLOW as a parameter.")]


def run(**options):
    out = StringIO()
    call_command("check_status_drift", stdout=out, **options)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_is_green_here_and_says_how_much_it_looked_at():
    assert run().startswith("silenced: monitoring/health.py:")
    assert "0 errors, 0 warnings" in run()


@pytest.mark.django_db
def test_the_command_speaks_json():
    facts = json.loads(run(format="json"))
    assert facts["findings"] == []
    assert facts["files"] > 100


@pytest.mark.django_db
def test_the_command_warns_of_a_value_that_only_the_database_knows():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status ADD VALUE 'quarantined'")
    assert "warning: The database's workspace_status has quarantined" in run(live=True)


@pytest.mark.django_db
def test_the_command_fails_where_the_database_lacks_a_value():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'hibernated' TO 'asleep'")
    with pytest.raises(CommandError, match="1 things drifted"):
        run(live=True)


@pytest.mark.django_db
def test_another_order_in_the_database_is_a_warning():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'online' TO 'x'")
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'offline' TO 'online'")
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'x' TO 'offline'")
    assert "has another order" in run(live=True)


def test_without_its_parser_the_command_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(check_status_drift, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pglast.*--live"):
        run()


@pytest.mark.django_db
def test_the_live_half_needs_one_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        run(live=True)


def test_the_static_half_is_a_system_check_that_only_a_deployment_check_by_its_tag_runs():
    deployment = {check.__name__ for check in registry.get_checks(include_deployment_checks=True)}
    always = {check.__name__ for check in registry.get_checks()}
    assert ("check_drift" in deployment, "check_drift" in always) == (True, False)
    assert registry.tag_exists("drift", include_deployment_checks=True)
