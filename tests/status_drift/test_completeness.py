"""Each status has its migrations, transitions, event, label, colour and filter entry."""

from dataclasses import dataclass

import pytest
from django.db.migrations import Migration, RunPython
from django.db.models import TextChoices

from postgres.enum_operations import AddEnumValue
from status_drift import completeness
from status_drift.completeness import filter_values, migration_findings, status_findings
from workspaces.lifecycle import transitions, trigger
from workspaces.lifecycle.transitions import TRANSITIONS, Verb, WorkspaceStatus


@dataclass(frozen=True)
class Planted:
    """A status that exists in the enum only."""

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
        "The transition hibernated → provisioning is only in the migrations."
    ]


def test_a_migration_that_adds_a_value_and_does_more_is_named(monkeypatch):
    adding = AddEnumValue("workspace_status", "quarantined", after="failed")
    crowded = Migration("0099_crowded", "workspaces")
    crowded.operations = [adding, RunPython(RunPython.noop)]
    monkeypatch.setattr(completeness, "operations", lambda graph: [(crowded, adding)])
    (finding,) = migration_findings()
    assert finding.message == "workspaces.0099_crowded does more than add a value."
