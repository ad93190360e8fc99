"""Migrations of the event log, which may have millions of rows."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.migrations import AddConstraint
from django.db.migrations.loader import MigrationLoader

from events.models import Event
from tests.events.conftest import online, record
from tests.waiting import PATIENCE_SECONDS


def record_elsewhere():
    """Record an event from a thread with its own connection."""

    def act():
        try:
            record(online())
        finally:
            connection.close()

    ThreadPoolExecutor(1).submit(act).result(PATIENCE_SECONDS)


@pytest.mark.django_db(transaction=True)
def test_the_names_in_the_log_are_validated_while_others_write():
    migration = MigrationLoader(connection).get_migration("events", "0009_validate_event_names")
    state = MigrationLoader(connection).project_state(migration.dependencies)
    with connection.schema_editor() as editor:
        migration.apply(state, editor)
        record_elsewhere()
    assert Event.objects.count() == 1


def test_no_migration_reads_the_log_while_it_locks_it():
    migrations = MigrationLoader(None).disk_migrations.items()
    operations = [each for (app, _), migration in migrations if app == "events" for each in migration.operations]
    added = [each for each in operations if isinstance(each, AddConstraint) and each.model_name == "event"]
    assert [type(each).__name__ for each in added] == ["AddConstraintNotValid"]
