"""What the watcher does with a backend's answer about a launch in flight. Unknown is not dead."""

from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from operator import attrgetter

import pytest
from django.db import connection

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.workspaces.factories import booting, launching, online, queued, running_on
from tests.workspaces.fake_backend import FakeProvisioner
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, FailureOwner, FailureSource
from workspaces.lifecycle.transitions import WorkspaceStatus as S
from workspaces.models import Launch, Workspace
from workspaces.services.watching.last_look import take_last_looks
from workspaces.services.watching.watch import watch_boots, watch_online

pytestmark = pytest.mark.django_db

Condition = Callable[[FakeProvisioner, Workspace], None]


def never_started(fake, workspace):
    """Let the backend lose the launch."""


def runs(fake, workspace):
    running_on(fake, workspace)


def exited(fake, workspace):
    fake.simulate_exit(running_on(fake, workspace), exit_code=3, log_tail="no such module\n")


def vanished(fake, workspace):
    fake.simulate_loss(running_on(fake, workspace))


def unreachable(fake, workspace):
    running_on(fake, workspace)
    fake.unreachable = True


def watch_and_reload(workspace):
    watch_boots(clock=database_now)
    return Workspace.objects.get(pk=workspace.pk)


@pytest.mark.parametrize(
    ("make", "condition", "status"),
    [
        (booting, runs, S.PROVISIONING),
        (booting, exited, S.FAILED),
        (booting, vanished, S.FAILED),
        (booting, unreachable, S.PROVISIONING),
        # The start may be about to happen, so a missing object proves nothing.
        (launching, never_started, S.PROVISIONING),
        (launching, runs, S.PROVISIONING),
        (launching, exited, S.FAILED),
        (launching, unreachable, S.PROVISIONING),
        (queued, never_started, S.PROVISIONING),
    ],
)
def test_a_launch_fails_only_if_it_is_seen_dead(fake, make, condition, status):
    workspace = make()
    condition(fake, workspace)
    assert watch_and_reload(workspace).status == status


def test_a_failure_by_the_watcher_has_the_exit_status_and_the_end_of_the_log(fake):
    workspace = booting()
    exited(fake, workspace)
    row = watch_and_reload(workspace)
    assert (row.failure_code, row.failure_source) == (FailureCode.CRASHED, FailureSource.BOOTSTRAP_WATCHER)
    assert "exited with status 3" in row.failure_message
    [event] = Event.objects.filter(workspace_id=row.pk, event_type=EventType.WORKSPACE_PROVISION_FAILED)
    assert (event.payload["source"], event.payload["log_tail"]) == ("bootstrap_watcher", "no such module\n")


def test_a_launch_that_its_backend_lost_is_the_backends_failure(fake):
    workspace = booting()
    vanished(fake, workspace)
    row = watch_and_reload(workspace)
    assert (row.failure_code, row.failure_owner) == (FailureCode.CRASHED, FailureOwner.BACKEND)
    assert "no longer holds it" in row.failure_message


def test_a_launch_that_cannot_be_inspected_is_unknown_and_fails_once_it_is_seen_dead(fake):
    workspace = booting()
    unreachable(fake, workspace)
    watch_and_reload(workspace)
    assert Launch.objects.get(pk=workspace.launch_id).evidence["state"] == "unknown"
    fake.unreachable = False
    fake.simulate_loss(running_on(fake, workspace))
    assert watch_and_reload(workspace).status == S.FAILED


def test_inspecting_a_failed_workspace_again_changes_nothing(fake):
    workspace = booting()
    exited(fake, workspace)
    first = watch_and_reload(workspace)
    assert watch_boots(clock=database_now) == []
    assert Workspace.objects.get(pk=workspace.pk).version == first.version


def test_a_queued_launch_is_not_inspected(fake):
    queued()
    watch_boots(clock=database_now)
    assert fake.calls == []


@contextmanager
def refuse_evidence_of(workspace):
    """Let the database refuse to store evidence about this workspace's launch."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE workspaces_launch ADD CONSTRAINT refused CHECK (id <> %s OR evidence = '{}')",
            [workspace.launch_id],
        )
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE workspaces_launch DROP CONSTRAINT refused")


def at_the_watchers_limit():
    return booting(now=database_now() - timedelta(minutes=9))


def take_a_last_look(*, clock):
    return take_last_looks(clock=clock, policy=Policy())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("make", "condition", "look", "order"),
    [
        (booting, exited, watch_boots, "deadline_at"),
        (online, exited, watch_online, "launch_id"),
        (at_the_watchers_limit, runs, take_a_last_look, "phase_entered_at"),
    ],
)
def test_a_row_that_the_database_refuses_is_logged_and_the_others_are_watched(
    fake,
    caplog,
    make,
    condition,
    look,
    order,
):
    rows = [make() for _ in range(3)]
    for row in rows:
        condition(fake, row)
    # The refused row is inspected first.
    bad, *others = sorted(rows, key=attrgetter(order))
    with refuse_evidence_of(bad):
        assert set(look(clock=database_now)) == {row.pk for row in others}
    assert {record.__dict__["launch_id"] for record in caplog.records if record.levelname == "ERROR"} == {bad.launch_id}
    assert Workspace.objects.get(pk=bad.pk).status == bad.status
    # The refused row is inspected again.
    assert look(clock=database_now) == [bad.pk]
