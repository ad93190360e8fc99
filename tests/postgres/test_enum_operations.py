"""Native enums: the operations on a real type, and what makemigrations writes when members change."""

import threading

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import DataError, connection
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunPython
from django.db.migrations.operations.special import SeparateDatabaseAndState
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.questioner import (
    InteractiveMigrationQuestioner,
    MigrationQuestioner,
    NonInteractiveMigrationQuestioner,
)
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter

from postgres import enum_operations as operations
from postgres.enum_operations import (
    AddEnumValue,
    CreateEnum,
    LockNotGranted,
    NotAloneInMigration,
    RenameEnumValue,
)
from tests.waiting import PATIENCE_SECONDS
from workspaces.lifecycle.autodetector import (
    Autodetector,
    CannotMigrate,
    bound_enums,
    enum_operations,
)
from workspaces.lifecycle.declared import declared_enums
from workspaces.lifecycle.transitions import WorkspaceStatus

STATE = ProjectState()


def forwards(operation):
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("workspaces", editor, STATE, STATE)


def backwards(operation):
    with connection.schema_editor(atomic=False) as editor:
        operation.database_backwards("workspaces", editor, STATE, STATE)


def values(name="mood"):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = to_regtype(%s)",
            [name],
        )
        return cursor.fetchone()[0]


@pytest.fixture
def mood(transactional_db):
    """A type of three values, on a connection that commits."""
    made = CreateEnum("mood", ["calm", "keen", "it's odd"])
    forwards(made)
    yield made
    with connection.cursor() as cursor:
        cursor.execute("DROP TYPE IF EXISTS mood")


def test_a_type_is_created_with_its_values_in_their_order(mood):
    assert values() == ["calm", "keen", "it's odd"]


def test_creating_a_type_is_reversed_by_dropping_it(mood):
    backwards(mood)
    assert values() is None


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({}, ["calm", "keen", "it's odd", "new"]),
        ({"after": "calm"}, ["calm", "new", "keen", "it's odd"]),
        ({"before": "calm"}, ["new", "calm", "keen", "it's odd"]),
        ({"before": "it's odd"}, ["calm", "keen", "new", "it's odd"]),
    ],
)
def test_a_value_is_added_at_its_place_in_the_database_and_in_the_replay(mood, place, expected):
    added = AddEnumValue("mood", "new", **place)
    forwards(added)
    assert values() == expected
    assert added.values_after(mood.values) == expected


def test_adding_an_existing_value_changes_nothing(mood):
    forwards(AddEnumValue("mood", "keen"))
    assert values() == mood.values
    assert AddEnumValue("mood", "keen").values_after(mood.values) == mood.values


def test_reversing_an_added_value_leaves_it_and_says_so(mood):
    added = AddEnumValue("mood", "new")
    forwards(added)
    backwards(added)
    assert "new" in (values() or [])
    assert "stays when reversed" in added.describe()


def test_a_value_is_added_before_or_after_another_and_not_both():
    with pytest.raises(ValueError, match="not both"):
        AddEnumValue("mood", "new", before="calm", after="keen")


def test_a_rename_is_reversible(mood):
    renamed = RenameEnumValue("mood", "keen", "eager")
    forwards(renamed)
    assert values() == ["calm", "eager", "it's odd"] == renamed.values_after(mood.values)
    backwards(renamed)
    assert values() == mood.values


def test_adding_a_value_beside_other_operations_is_refused_before_anything_happens(mood, monkeypatch):
    added = AddEnumValue("mood", "new")
    crowded = Migration("0099_crowded", "workspaces")
    crowded.operations = [added, RunPython(RunPython.noop)]
    found = {("workspaces", "0099_crowded"): crowded}
    monkeypatch.setattr(MigrationLoader, "build_graph", lambda self: setattr(self, "disk_migrations", found))
    with pytest.raises(NotAloneInMigration, match=r"workspaces\.0099_crowded.*must be alone in its migration"):
        forwards(added)
    assert values() == mood.values


def test_the_database_refuses_an_unknown_value(mood):
    with connection.cursor() as cursor, pytest.raises(DataError, match='mood: "gloomy"'):
        cursor.execute("SELECT %s::mood", ["gloomy"])


def test_a_lock_that_is_not_granted_in_time_raises_a_sentence_and_changes_nothing(mood, monkeypatch):
    monkeypatch.setattr(operations, "LOCK_TIMEOUT", "100ms")
    name = connection.settings_dict["NAME"]
    with psycopg.connect(settings.DATABASE_URL, dbname=name, connect_timeout=60) as other:
        other.execute("ALTER TYPE mood ADD VALUE 'theirs'")
        with pytest.raises(LockNotGranted, match="longer than 100ms"):
            forwards(AddEnumValue("mood", "new"))
        other.rollback()
    assert values() == mood.values


def test_the_lock_timeout_ends_with_its_transaction(mood):
    forwards(AddEnumValue("mood", "new"))
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


def test_migrations_are_written_with_the_operations_arguments():
    operations = [
        CreateEnum(name="mood", values=["calm"]),
        AddEnumValue(name="mood", value="keen", after="calm"),
        RenameEnumValue(name="mood", old="keen", new="eager"),
    ]
    migration = Migration("0001_mood", "workspaces")
    migration.operations = operations
    written = {}
    exec(MigrationWriter(migration).as_string(), written)  # noqa: S102
    again = written["Migration"].operations
    assert [vars(one) for one in again] == [vars(one) for one in operations]


def test_squashed_migrations_create_the_type_with_all_its_values():
    operations = [CreateEnum("mood", ["calm"]), AddEnumValue("mood", "keen"), RenameEnumValue("mood", "calm", "mild")]
    (left,) = MigrationOptimizer().optimize(operations, "workspaces")
    assert isinstance(left, CreateEnum)
    assert left.values == ["mild", "keen"]


def no(question):
    return False


PRESENT = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["a", "b", "c"], []),
        (["a", "b", "c", "d"], [("d", "", "c")]),
        (["a", "x", "b", "c"], [("x", "", "a")]),
        (["x", "a", "b", "c"], [("x", "a", "")]),
        (["a", "x", "y", "b", "c"], [("x", "", "a"), ("y", "", "x")]),
        (["x", "y", "a", "b", "c"], [("x", "a", ""), ("y", "", "x")]),
    ],
)
def test_each_new_member_becomes_an_addition_at_its_place(wanted, expected):
    operations = enum_operations("mood", wanted, PRESENT, confirm=no)
    assert [(one.value, one.before, one.after) for one in operations] == expected
    replayed = PRESENT
    for operation in operations:
        replayed = operation.values_after(replayed)
    assert replayed == list(wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["a", "c"], "lost b. Postgres can't remove a value"),
        (["a", "c", "b"], "a different order"),
        (["x", "b", "y"], "lost a, c and gained x, y: rename one value at a time"),
        (["a", "c", "x"], "lost b and gained x: rename one value at a time"),
        (["a", "x", "c"], "lost b and gained x. If you renamed it, confirm that"),
    ],
)
def test_a_change_that_no_operation_can_do_is_refused_with_advice(wanted, message):
    with pytest.raises(CannotMigrate, match=message):
        enum_operations("mood", wanted, PRESENT, confirm=no)


def test_a_confirmed_rename_is_written():
    asked = []

    def yes(question):
        asked.append(question)
        return True

    (operation,) = enum_operations("mood", ["a", "x", "c"], PRESENT, confirm=yes)
    assert operation.deconstruct() == RenameEnumValue("mood", "b", "x").deconstruct()
    assert asked == ["Was b of mood renamed to x? Code that knows the old name will fail. [y/N]"]


def test_a_type_that_no_migration_creates_is_created():
    (operation,) = enum_operations("mood", ["a", "b"], None, confirm=no)
    assert operation.deconstruct() == CreateEnum("mood", ["a", "b"]).deconstruct()


def test_the_migrations_end_with_the_members_in_their_order():
    declared = declared_enums(MigrationLoader(None).graph)
    assert declared["workspace_status"].values == WorkspaceStatus.values
    assert list(bound_enums()) == ["workspace_status"]


def test_operations_inside_separate_database_and_state_are_replayed():
    graph = MigrationLoader(None).graph
    (leaf,) = graph.leaf_nodes("workspaces")
    added = AddEnumValue("workspace_status", "quarantined", after="failed")
    last = graph.nodes[leaf]
    last.operations = [*last.operations, SeparateDatabaseAndState(database_operations=[added])]
    assert "quarantined" in declared_enums(graph)["workspace_status"].values


def detector(questioner, wanted, monkeypatch):
    class Wanted:
        values = wanted

    monkeypatch.setattr(
        "workspaces.lifecycle.autodetector.bound_enums", lambda: {"workspace_status": ("workspaces", Wanted)}
    )
    loader = MigrationLoader(None)
    state = loader.project_state()
    return Autodetector(state, state, questioner).changes(graph=loader.graph)


def test_each_new_member_gets_a_migration_of_its_own_in_a_chain(monkeypatch):
    changes = detector(MigrationQuestioner(), [*WorkspaceStatus.values, "x", "y"], monkeypatch)
    first, second = changes["workspaces"]
    assert [len(one.operations) for one in (first, second)] == [1, 1]
    assert first.name.endswith("_workspace_status_x")
    assert second.dependencies == [("workspaces", first.name)]


def test_a_change_that_cannot_be_written_stops_makemigrations_and_not_migrate(monkeypatch):
    fewer = WorkspaceStatus.values[:-1]
    with pytest.raises(CannotMigrate, match="lost awaiting_agent"):
        detector(NonInteractiveMigrationQuestioner(), fewer, monkeypatch)
    # The questioner of `migrate`, which must continue if the database or the code is older.
    assert detector(MigrationQuestioner(), fewer, monkeypatch) == {}


def test_a_rename_is_confirmed_at_a_terminal_only(monkeypatch):
    renamed = ["paused_too" if value == "paused" else value for value in WorkspaceStatus.values]
    with pytest.raises(CannotMigrate, match="in a terminal"):
        detector(NonInteractiveMigrationQuestioner(), renamed, monkeypatch)
    monkeypatch.setattr(InteractiveMigrationQuestioner, "_boolean_input", lambda *_, **__: True)
    (migration,) = detector(InteractiveMigrationQuestioner(), renamed, monkeypatch)["workspaces"]
    assert isinstance(migration.operations[0], RenameEnumValue)


@pytest.mark.django_db
def test_makemigrations_finds_nothing_to_do_in_this_project():
    call_command("makemigrations", "--check", "--dry-run", "--no-input", verbosity=0)


def test_two_sessions_that_add_the_same_value_at_once_leave_one(mood, monkeypatch):
    monkeypatch.setattr(operations, "LOCK_TIMEOUT", f"{PATIENCE_SECONDS:.0f}s")

    def add():
        try:
            forwards(AddEnumValue("mood", "new"))
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert values() == [*mood.values, "new"]
