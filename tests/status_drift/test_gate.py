"""The gate as a whole: it passes here, in time, and fails if it finds nothing to check."""

import time

from django.conf import settings
from django.core.checks.registry import registry

from status_drift.enum_terms import EnumTerm, native_enums
from status_drift.gate import scan_source, static_report
from status_drift.sources import parse
from workspaces.lifecycle.transitions import WorkspaceStatus

# The processor's. It takes three; others that use the processor too make it slower.
MAX_SECONDS = 20


def test_nothing_has_drifted_in_this_project_and_it_takes_no_more_than_seconds():
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


def test_statuses_that_do_not_exist_are_found_in_a_copy_of_the_project(tmp_path):
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "planted.py").write_text(
        "from workspaces.models import Workspace\n\n"
        'Workspace.objects.update(status="awaiting_agnet")\n'
        'Workspace.objects.filter(status__in=("onlin",))\n'
        'workspace.status = "onlin"\n'
        'if workspace.status == "stopped":\n    pass\n'
        "cursor.execute(\"UPDATE workspaces_workspace SET status = 'awaiting_agnet'\")\n"
    )
    findings = [one for one in static_report(tmp_path).findings if one.path == "registry/planted.py"]
    assert sorted((one.line, one.fix) for one in findings) == [
        (3, "Did you mean WorkspaceStatus.AWAITING_AGENT?"),
        (4, "Did you mean WorkspaceStatus.ONLINE?"),
        (5, "Did you mean WorkspaceStatus.ONLINE?"),
        (6, "Use a member of WorkspaceStatus."),
        (8, "Did you mean WorkspaceStatus.AWAITING_AGENT?"),
    ]


def test_a_violation_planted_in_a_functions_sql_file_is_found_with_its_file_and_line(tmp_path):
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


def test_a_gate_that_finds_nothing_to_check_fails(tmp_path):
    messages = [finding.message for finding in static_report(tmp_path).findings]
    assert "The gate found no file to check." in messages
    assert "The gate found no SQL statement to check." in messages
    assert "The gate found no mention of a status to check." in messages


def test_the_gate_guards_the_native_enum_of_the_workspace():
    (term,) = native_enums()
    assert term.type_name == "workspace_status"
    assert term.field_names == {"status"}
    assert set(term.members) == set(WorkspaceStatus.values)


def test_every_native_enum_is_guarded_by_the_name_of_its_field():
    kind = EnumTerm(
        type_name="job_kind", members={"slow": "Kind.SLOW"}, field_names=frozenset({"kind"}), tables=frozenset({"job"})
    )
    text = "row.kind = 'slow'\ncursor.execute(\"UPDATE job SET kind = 'slow'\")\nrow.status = 'slow'\n"
    found = scan_source(parse(text, path="workspaces/planted.py"), terms=[*native_enums(), kind], events={}).findings
    assert [(one.line, one.fix) for one in found] == [(1, "Use Kind.SLOW."), (2, "Pass Kind.SLOW as a parameter.")]


def test_the_static_half_is_a_system_check_that_only_a_deployment_check_by_its_tag_runs():
    deployment = {check.__name__ for check in registry.get_checks(include_deployment_checks=True)}
    always = {check.__name__ for check in registry.get_checks()}
    assert ("check_drift" in deployment, "check_drift" in always) == (True, False)
    assert registry.tag_exists("drift", include_deployment_checks=True)
