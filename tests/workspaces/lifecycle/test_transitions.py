"""The transition table, and that `transition` follows it."""

import uuid

import pytest
from django.db import connection

from events.models import Event
from events.names import EventType
from tests.workspaces.factories import booting, failed, online, queued
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.transition import (
    StatusChange,
    TransitionRefused,
    lock_workspaces,
    transition,
    transition_each,
)
from workspaces.services.launching.restart import restart

pytestmark = pytest.mark.django_db


def test_the_database_enum_is_the_code_enum_in_its_order():
    with connection.cursor() as cursor:
        cursor.execute("SELECT enum_range(NULL::workspace_status)::text[]")
        (values,) = cursor.fetchone()
    assert values == WorkspaceStatus.values


def test_the_status_column_is_not_null_and_defaults_to_provisioning():
    field = Workspace._meta.get_field("status")
    assert (field.null, field.default) == (False, WorkspaceStatus.PROVISIONING)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT is_nullable, udt_name FROM information_schema.columns"
            " WHERE table_name = 'workspaces_workspace' AND column_name = 'status'"
        )
        assert cursor.fetchone() == ("NO", "workspace_status")


def test_every_status_is_reached_by_some_verb():
    assert {row.target for row in TRANSITIONS} == set(WorkspaceStatus)


def test_nothing_leaves_removed():
    assert not [row for row in TRANSITIONS if WorkspaceStatus.REMOVED in row.sources]


def test_a_status_reads_back_as_its_member():
    workspace = queued()
    assert Workspace.objects.get(pk=workspace.pk).status is WorkspaceStatus.PROVISIONING


MOVES = [row for row in TRANSITIONS if row.sources]
CASES = [(row, source) for row in MOVES for source in WorkspaceStatus]


@pytest.mark.parametrize(("row", "source"), CASES, ids=[f"{r.verb}-{s}-{r.target}" for r, s in CASES])
def test_a_transition_starts_from_its_sources_and_is_refused_from_any_other_status(row, source):
    workspace = online()
    set_status(workspace, source)
    before = Event.objects.filter(workspace_id=workspace.pk).count()
    (locked,) = lock_workspaces([workspace.pk])
    changes = {
        "deadline_at": workspace.created_at,
        "phase": "queued" if row.target == WorkspaceStatus.PROVISIONING else "",
    } | {"failure_code": "crashed", "failure_source": "agent", "failure_message": "x", "failure_at": locked.created_at}
    if row.target == source:
        # A transition that keeps the status must begin another launch.
        changes["launch_id"] = uuid.uuid4()
    if source in row.sources:
        transition(row, [StatusChange(workspace=locked, changes=changes, payload={})])
        workspace.refresh_from_db()
        event = Event.objects.filter(workspace_id=workspace.pk).latest("id")
        assert (workspace.status, workspace.version) == (row.target, locked.version)
        assert (event.event_type, event.version, event.is_move) == (row.event, workspace.version, True)
    else:
        with pytest.raises(TransitionRefused, match=workspace.name):
            transition(row, [StatusChange(workspace=locked, changes=changes, payload={})])
        workspace.refresh_from_db()
        assert workspace.status == source
        assert Event.objects.filter(workspace_id=workspace.pk).count() == before


def test_many_transitions_take_as_many_statements_as_one(django_assert_num_queries):
    def fail_all(rows):
        row = next(row for row in TRANSITIONS if row.event == EventType.WORKSPACE_PROVISION_FAILED)
        reason = {"failure_code": "crashed", "failure_source": "agent", "failure_message": "x"}
        steps = [StatusChange(workspace=one, changes={**reason, "failure_at": one.created_at}) for one in rows]
        with django_assert_num_queries(2):
            transition(row, steps)

    fail_all([booting()])
    fail_all([booting() for _ in range(12)])
    assert Event.objects.filter(event_type=EventType.WORKSPACE_PROVISION_FAILED).count() == 13


def test_a_row_that_the_database_refuses_is_set_aside_and_the_rest_of_the_batch_changes():
    rows = [booting() for _ in range(7)]
    row = next(row for row in TRANSITIONS if row.event == EventType.WORKSPACE_PROVISION_FAILED)
    steps = [
        # The fifth one has no message: the database refuses a failure without a reason.
        StatusChange(
            workspace=one,
            changes={
                "failure_code": "crashed",
                "failure_source": "agent",
                "failure_message": "" if index == 4 else "It broke.",
                "failure_at": one.created_at,
            },
        )
        for index, one in enumerate(rows)
    ]
    left_out = transition_each(row, steps)
    assert [failure.row.workspace.pk for failure in left_out] == [rows[4].pk]
    assert Workspace.objects.filter(status=WorkspaceStatus.FAILED).count() == 6
    assert Workspace.objects.get(pk=rows[4].pk).status == WorkspaceStatus.PROVISIONING
    assert Event.objects.filter(event_type=EventType.WORKSPACE_PROVISION_FAILED).count() == 6


def test_a_row_left_out_of_a_batch_keeps_its_version_in_memory_too():
    workspace = booting()
    row = next(row for row in TRANSITIONS if row.event == EventType.WORKSPACE_PROVISION_FAILED)
    bad = StatusChange(workspace=workspace, changes={"failure_message": ""})
    assert [failure.row for failure in transition_each(row, [bad])] == [bad]
    assert (workspace.version, workspace.status) == (1, WorkspaceStatus.PROVISIONING)


def test_leaving_a_failure_clears_its_reason():
    workspace = failed()
    assert workspace.failure is not None
    restarted = restart(workspace_id=workspace.pk, now=workspace.created_at).workspace
    restarted.refresh_from_db()
    assert restarted.failure is None
