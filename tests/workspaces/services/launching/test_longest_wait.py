"""A launch waits in a queue that moves, but not for ever: its deadline is postponed up to QUEUE_LONGEST_SECONDS."""

from datetime import timedelta

import pytest
from django.core.management import call_command

from postgres.clock import database_now
from tests.workspaces.factories import booting, queued
from workspaces.deadlines.policy import Policy, effective_deadline
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.models.incidents import Component, Liveness
from workspaces.services.watching import outages
from workspaces.services.watching.sweep import preview_sweep, sweep_stuck

pytestmark = pytest.mark.django_db
NO_OVERRIDE = Policy()


def sweep_each_minute(workspace, *, until, policy=NO_OVERRIDE, began=None):
    """Sweep once a minute while another launch is taken from the queue each time. Return when it failed, in minutes."""
    other, began = booting(), began or workspace.provisioning_started_at
    for minute in range(1, until + 1):
        now = began + timedelta(minutes=minute)
        Launch.objects.filter(pk=other.launch_id).update(launching_at=now - timedelta(seconds=30))
        Workspace.objects.filter(pk=other.pk).update(deadline_at=now + timedelta(days=1), phase_entered_at=now)
        if workspace in sweep_stuck(now=now, policy=policy).failed:
            return minute
        workspace.refresh_from_db()
        assert effective_deadline(workspace, policy=policy) > now
    return None


@pytest.mark.parametrize("override", [None, 60, 1200])
@pytest.mark.parametrize("longest", [1800, 3600])
def test_a_launch_in_a_queue_that_moves_fails_after_the_longest_wait_and_not_before(settings, longest, override):
    settings.QUEUE_LONGEST_SECONDS = longest
    workspace = queued()
    assert sweep_each_minute(workspace, until=90, policy=Policy(override_seconds=override)) == longest // 60
    failed = Workspace.objects.get(pk=workspace.pk)
    assert (failed.status, failed.failure_code) == (WorkspaceStatus.FAILED, FailureCode.NEVER_LAUNCHED)
    assert f"for {longest // 60} minutes" in failed.failure_message
    assert "QUEUE_LONGEST_SECONDS" in failed.failure_message
    assert (failed.failure_known["limit_seconds"], failed.failure_known["limit_source"]) == (
        longest,
        "QUEUE_LONGEST_SECONDS",
    )


def test_no_stored_deadline_lies_beyond_the_longest_wait(settings):
    settings.QUEUE_LONGEST_SECONDS = 1800
    workspace = queued()
    last = workspace.provisioning_started_at + timedelta(seconds=1800)
    for minutes in range(5, 30, 5):
        sweep_each_minute(workspace, until=minutes)
        workspace.refresh_from_db()
        assert workspace.deadline_at <= last


def test_an_outage_of_slipway_does_not_count_as_waiting(settings):
    settings.QUEUE_LONGEST_SECONDS = 3600
    workspace = queued()
    began = workspace.provisioning_started_at
    Liveness.objects.create(part=Component.SWEEP, alive_at=began)
    back = began + timedelta(minutes=50)
    outages.record_liveness(part=Component.SWEEP, now=back)
    assert sweep_each_minute(workspace, until=90, began=back) == 60


def test_a_preview_of_the_sweep_names_the_longest_wait_too():
    workspace = queued(now=database_now() - timedelta(hours=6, minutes=1))
    Launch.objects.filter(pk=booting().launch_id).update(launching_at=database_now())
    [(row, reason)] = preview_sweep(now=database_now(), policy=Policy()).reasons
    assert row == workspace
    assert "QUEUE_LONGEST_SECONDS" in reason.message


def test_deadlines_shows_the_longest_wait_beside_the_limit_of_the_queue(capsys):
    call_command("deadlines", "hermes")
    assert "while its queue moves it may wait for 6 h" in capsys.readouterr().out
