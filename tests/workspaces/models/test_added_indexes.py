"""Indexes that a migration adds to a table in use."""

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting
from workspaces.models import Launch, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

ADDED = [
    ("0013_index_of_the_held", "workspace_held"),
    ("0014_index_of_the_booting", "workspace_booting"),
    ("0017_index_of_queued_at", "launch_queued"),
    ("0019_index_of_the_waiting", "workspace_waiting"),
    ("0021_indexes_of_configurations", "launch_configuration"),
    ("0021_indexes_of_configurations", "workspace_configuration"),
]


def asked(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0]


def elsewhere(action):
    """Run a function in a thread with its own connection."""

    def and_leave():
        try:
            return action()
        finally:
            connection.close()

    return ThreadPoolExecutor(1).submit(and_leave)


def apply(name, *, pids):
    pids.put(asked("SELECT pg_backend_pid()"))
    migration = MigrationLoader(connection).get_migration("workspaces", name)
    state = MigrationLoader(connection).project_state(migration.dependencies)
    with connection.schema_editor(atomic=migration.atomic) as editor:
        migration.apply(state, editor)


def rename(row):
    with transaction.atomic():
        asked("SELECT set_config('lock_timeout', '2s', true)")
        Workspace.objects.filter(pk=row.pk).update(name="renamed")
        Launch.objects.filter(pk=row.launch_id).update(runtime="renamed")


def invalidate(index):
    """Leave what an interrupted CREATE INDEX CONCURRENTLY leaves."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [index])


@pytest.mark.parametrize(("migration", "index"), ADDED)
def test_an_index_is_built_while_others_write_and_replaces_what_an_interrupted_attempt_left(migration, index):
    one, other = booting(name="one"), booting(name="other")
    invalidate(index)
    pids = SimpleQueue()
    with transaction.atomic():
        rename(one)
        building = elsewhere(lambda: apply(migration, pids=pids))
        pid = pids.get(timeout=PATIENCE_SECONDS)
        wait_until(lambda: asked("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", pid))
        elsewhere(lambda: rename(other)).result(PATIENCE_SECONDS)
        assert not building.done()
    building.result(PATIENCE_SECONDS)
    assert asked("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", index)
    assert Workspace.objects.filter(name="renamed").count() == 2
