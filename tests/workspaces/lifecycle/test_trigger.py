"""The trigger that guards transitions, tested with statements that no service makes."""

import uuid

import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import F

from tests.workspaces.factories import booting, online, queued
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.declared import declared_guard
from workspaces.lifecycle.transitions import WorkspaceStatus, allowed_moves
from workspaces.lifecycle.trigger import FUNCTION, guard_from_transitions
from workspaces.models import BackendKind, Workspace
from workspaces.provisioners.kinds import LAUNCHED_KINDS
from workspaces.services.launching.restart import restart

pytestmark = pytest.mark.django_db
PAIRS = [(source, target) for source in WorkspaceStatus for target in WorkspaceStatus]


def test_the_guard_in_the_migrations_is_the_one_generated_from_the_table():
    assert guard_from_transitions().is_same_as(declared_guard(MigrationLoader(None).graph))


def test_the_function_in_the_database_is_the_one_generated_from_the_table():
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = %s", [FUNCTION])
        (source,) = cursor.fetchone()
        assert source.strip() in guard_from_transitions().statement().as_string(connection.connection)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{source}-{target}" for source, target in PAIRS])
def test_the_database_allows_the_tables_edges_and_no_other(source, target):
    workspace = online()
    set_status(workspace, source)
    changes = {"status": target, "version": F("version") + 1, "launch_id": uuid.uuid4()}
    if target == WorkspaceStatus.PROVISIONING:
        changes["phase"] = "queued"
    row = Workspace.objects.filter(pk=workspace.pk)
    if (source, target) in allowed_moves():
        assert row.update(**changes) == 1
    else:
        with pytest.raises(IntegrityError, match=f"can't go from {source} to {target}"), transaction.atomic():
            row.update(**changes)
        assert row.get().status == source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": WorkspaceStatus.PAUSED}, "with version 2 after 2"),
        ({"status": WorkspaceStatus.PAUSED, "version": 4}, "with version 4 after 2"),
        ({"status": WorkspaceStatus.PAUSED, "version": 1}, "with version 1 after 2"),
        ({"version": 3}, "stays online, so its version stays 2"),
        ({"launch_id": uuid.UUID(int=1)}, "can't go from online to online"),
        ({"launch_id": uuid.UUID(int=1), "version": 3}, "can't go from online to online"),
    ],
)
def test_status_launch_and_version_change_together_or_not_at_all(changes, message):
    workspace = online()
    with pytest.raises(IntegrityError, match=message), transaction.atomic():
        Workspace.objects.filter(pk=workspace.pk).update(**changes)
    assert Workspace.objects.get(pk=workspace.pk).version == 2


def test_a_restart_while_provisioning_keeps_the_status_and_raises_the_version():
    workspace = booting()
    restart(workspace_id=workspace.pk, now=workspace.created_at)
    assert Workspace.objects.get(pk=workspace.pk).version == workspace.version + 1


def test_a_new_launch_of_a_provisioning_workspace_needs_a_new_version():
    workspace = booting()
    with pytest.raises(IntegrityError, match="with version 1 after 1"), transaction.atomic():
        Workspace.objects.filter(pk=workspace.pk).update(launch_id=uuid.uuid4())


@pytest.mark.parametrize(
    ("assignment", "fires"), [("name = 'x'", False), ("status = status", False), ("version = version + 1", True)]
)
def test_the_trigger_fires_only_if_the_status_launch_or_version_changes(assignment, fires):
    online()
    with connection.cursor() as cursor:
        # The planted version is refused, and the message of the error names the trigger.
        try:
            with transaction.atomic():
                cursor.execute(f"EXPLAIN (ANALYZE) UPDATE workspaces_workspace SET {assignment}")  # noqa: S608
                output = "".join(line for (line,) in cursor.fetchall())
        except IntegrityError as refused:
            output = str(refused)
    assert ("workspaces_workspace_guard" in output or "workspace_guard_moves" in output) is fires


def test_an_update_without_a_transition_is_allowed():
    workspace = online()
    workspace.name = "renamed"
    workspace.save()
    assert Workspace.objects.get(pk=workspace.pk).name == "renamed"


FIRST = {
    *((kind, WorkspaceStatus.PROVISIONING) for kind in LAUNCHED_KINDS),
    (BackendKind.EXTERNAL, WorkspaceStatus.AWAITING_AGENT),
    (BackendKind.EXTERNAL, WorkspaceStatus.ONLINE),
}
CREATIONS = [(backend, status) for backend in BackendKind for status in WorkspaceStatus]


@pytest.mark.parametrize(("backend", "status"), CREATIONS, ids=[f"{backend}-{status}" for backend, status in CREATIONS])
def test_a_row_is_created_only_in_an_initial_status_of_its_backend(backend, status):
    copy = queued()
    copy.pk, copy.backend, copy.status = uuid.uuid4(), backend, status
    copy.failure_code, copy.failure_source, copy.failure_message = "crashed", "agent", "x"
    copy.failure_at = copy.created_at
    if (backend, status) in FIRST:
        copy.save(force_insert=True)
        assert Workspace.objects.filter(pk=copy.pk).exists()
    else:
        with pytest.raises(IntegrityError, match=f"{backend} can't be created as {status}"), transaction.atomic():
            copy.save(force_insert=True)


def test_a_row_is_created_with_version_one():
    copy = queued()
    copy.pk, copy.version = uuid.uuid4(), 2
    with pytest.raises(IntegrityError, match="created with version 1, not 2"):
        copy.save(force_insert=True)


def test_a_bulk_insert_is_checked_row_by_row():
    good, bad = queued(), queued()
    good.pk, bad.pk, bad.status = uuid.uuid4(), uuid.uuid4(), WorkspaceStatus.REMOVED
    with pytest.raises(IntegrityError, match="can't be created as removed"), transaction.atomic():
        Workspace.objects.bulk_create([good, bad])
    assert not Workspace.objects.filter(pk=good.pk).exists()


@pytest.fixture
def psql(transactional_db):
    """A connection as psql has it, without Django."""
    present = connection.settings_dict
    with psycopg.connect(settings.DATABASE_URL, dbname=present["NAME"], autocommit=True) as connected:
        yield connected


@pytest.mark.django_db(transaction=True)
def test_psql_cannot_revive_a_removed_workspace(psql):
    workspace = online()
    set_status(workspace, WorkspaceStatus.REMOVED)
    with pytest.raises(psycopg.errors.CheckViolation, match="can't go from removed to online") as refused:
        psql.execute("UPDATE workspaces_workspace SET status='online' WHERE status='removed'")
    assert refused.value.diag.constraint_name == "workspace_moves_along_an_edge"
    assert psql.execute("SELECT status FROM workspaces_workspace").fetchall() == [("removed",)]


@pytest.mark.django_db(transaction=True)
def test_psql_cannot_write_an_unknown_status(psql):
    workspace = online()
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match='workspace_status: "quarantined"'):
        psql.execute("UPDATE workspaces_workspace SET status='quarantined' WHERE id = %s", [workspace.pk])
    assert psql.execute("SELECT status FROM workspaces_workspace").fetchall() == [("online",)]


def test_an_unknown_status_is_an_error_of_the_orm_too():
    workspace = online()
    with pytest.raises(DatabaseError, match="quarantined"), transaction.atomic():
        Workspace.objects.filter(pk=workspace.pk).update(status="quarantined")
