"""Migrations that fill or would lose data."""

import re

import pytest
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations import RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.fields import FieldOperation

from tests.workspaces.factories import failed, online
from workspaces.access.secret_sets import create_set
from workspaces.access.secrets import put_secrets, readable_values
from workspaces.models import Launch, Secret

pytestmark = pytest.mark.django_db
SETS = "0026_secret_sets"
RETIRED = "0035_retired_secrets_in_logs"


def migration_and_state(name):
    """Return a migration, and the state before it."""
    migration = MigrationLoader(connection).get_migration("workspaces", name)
    return migration, MigrationLoader(connection).project_state(migration.dependencies)


def take_back(name):
    migration, before = migration_and_state(name)
    with connection.schema_editor() as editor:
        migration.unapply(before, editor)


def test_sets_are_not_taken_back_while_every_workspace_would_get_their_secrets():
    create_set("llm")
    put_secrets({"A_KEY": "of the set"}, workspace_id=None, secret_set="llm")
    with pytest.raises(CommandError, match=r"There are secrets of sets \(1\)"):
        take_back(SETS)
    assert Secret.objects.get().secret_set_id == "llm"


def test_sets_are_taken_back_when_none_has_a_secret():
    take_back(SETS)
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, Secret._meta.db_table)
    assert "secret_set_id" not in [column.name for column in columns]


def test_secret_values_can_be_read_once_the_columns_of_retired_secrets_are_taken_back_and_put_back():
    workspace = online(secrets={"A_KEY": "first-value"})
    put_secrets({"A_KEY": "second-value"}, workspace_id=workspace.pk)

    def values():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM workspaces_secret_values(%s, '{}')", [[workspace.pk]])
            return cursor.fetchone()[0]

    # Postgres changes no table for which a check waits for the end of the transaction.
    connection.check_constraints()
    take_back(RETIRED)
    assert values() == 2
    migration, before = migration_and_state(RETIRED)
    with connection.schema_editor() as editor:
        migration.apply(before, editor)
    assert values() == 2
    assert readable_values({workspace.pk}) == {workspace.pk: ["second-value", "first-value"]}


def test_launches_that_failed_before_messages_were_kept_get_theirs_from_the_events():
    earlier, later, running = failed(), failed(), online()
    Launch.objects.filter(pk=earlier.launch_id).update(failure_message="")
    Launch.objects.filter(pk=later.launch_id).update(failure_message="Its own.")
    migration, before = migration_and_state("0029_messages_from_events")
    with connection.schema_editor() as editor:
        migration.apply(before, editor)
    assert Launch.objects.get(pk=earlier.launch_id).failure_message == "It broke."
    assert Launch.objects.get(pk=later.launch_id).failure_message == "Its own."
    assert Launch.objects.get(pk=running.launch_id).failure_message == ""


def test_no_migration_fills_a_table_while_it_holds_the_lock_of_a_changed_column():
    both = []
    for migration in MigrationLoader(None).disk_migrations.values():
        texts = [str(operation.sql) for operation in migration.operations if type(operation) is RunSQL]
        fills = any(re.search(r"UPDATE \w+ (AS \w+ )?SET\b", text) for text in texts)
        if fills and any(isinstance(operation, FieldOperation) for operation in migration.operations):
            both.append(migration.name)
    # Its table has a row for each workspace.
    assert both == ["0010_heartbeat_fence_and_retired_secrets"]
