"""`manage.py workspaces` and `manage.py sweep_stuck`."""

import io
import json
import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from postgres.clock import database_now
from tests.workspaces import factories
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.stopping.remove import remove

pytestmark = pytest.mark.django_db


def output_of(*arguments):
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def json_of(*arguments):
    return json.loads(output_of(*arguments, "--format", "json"))


def minutes_ago(minutes):
    return database_now() - timedelta(minutes=minutes)


# --- workspaces ----------------------------------------------------------------------------------


def test_workspaces_lists_status_phase_age_deadline_and_failure():
    factories.booting(name="slow", now=minutes_ago(3.1))
    factories.failed(name="broken")

    text = output_of("workspaces")

    for expected in ("slow", "booting", "3 min", "in 6 min", "broken", "crashed: It broke.", "2 workspaces."):
        assert expected in text


def test_workspaces_as_json():
    slow = factories.booting(name="slow", now=minutes_ago(3))
    factories.failed(name="broken")

    broken_row, slow_row = json_of("workspaces")

    assert (slow_row["id"], slow_row["status"], slow_row["phase"]) == (str(slow.pk), "provisioning", "booting")
    assert 180 <= slow_row["age_seconds"] < 240
    assert slow_row["deadline_at"] == slow.deadline_at.isoformat()
    assert slow_row["failure"] is None
    assert (broken_row["failure"]["code"], broken_row["failure"]["message"]) == ("crashed", "It broke.")


def test_workspaces_shows_the_deadline_in_force(settings):
    slow = factories.booting(now=minutes_ago(3))
    settings.PROVISION_TIMEOUT_SECONDS = 3600

    (row,) = json_of("workspaces")

    assert row["deadline_at"] == (slow.phase_entered_at + timedelta(hours=1)).isoformat()


def test_workspaces_by_status_finds_removed_workspaces():
    factories.online(name="kept")
    remove(workspace_id=factories.online(name="gone").pk, confirmed=False, now=database_now())

    assert [row["name"] for row in json_of("workspaces")] == ["kept"]
    assert [row["name"] for row in json_of("workspaces", "--status", "removed")] == ["gone"]


def test_workspaces_reports_an_empty_list():
    assert output_of("workspaces") == "0 workspaces. Launch one: manage.py launch echo --wait\n"
    assert output_of("workspaces", "--status", "failed") == "0 workspaces are failed.\n"
    assert json_of("workspaces") == []


def test_workspaces_lists_the_statuses_if_one_is_unknown():
    with pytest.raises(CommandError, match=r"no status 'onlin'.*provisioning, online") as refused:
        output_of("workspaces", "--status", "onlin")
    assert refused.value.returncode == 2


def test_workspaces_removes_terminal_escapes():
    workspace = factories.booting()
    Workspace.objects.filter(pk=workspace.pk).update(progress_step="\x1b[2J\x1b]0;mine\x07install\r")

    text = output_of("workspaces")

    assert "install" in text
    assert not set(text) & {"\x1b", "\x07", "\r"}


# --- sweep_stuck ---------------------------------------------------------------------------------


def test_sweep_stuck_fails_the_overdue_and_says_how_many():
    stuck, fine = factories.booting(now=minutes_ago(11)), factories.booting()

    text = output_of("sweep_stuck")

    assert text.endswith("Failed 1 stuck workspace.\n")
    assert Workspace.objects.get(pk=stuck.pk).failure_code == FailureCode.TIMED_OUT
    assert Workspace.objects.get(pk=fine.pk).status == WorkspaceStatus.PROVISIONING


def test_sweep_stuck_dry_run_names_them_and_changes_nothing():
    stuck = factories.booting(name="late", now=minutes_ago(11))

    text = output_of("sweep_stuck", "--dry-run")

    assert f"late ({stuck.pk}): timed_out: Its agent did not register" in text
    assert text.endswith("Would fail 1 stuck workspace; nothing was changed.\n")
    assert Workspace.objects.get(pk=stuck.pk).status == WorkspaceStatus.PROVISIONING


def test_sweep_stuck_prints_the_next_deadline_if_nothing_is_stuck():
    factories.booting(name="patient", runtime="hermes")
    factories.booting(name="next", now=minutes_ago(4))

    text = output_of("sweep_stuck")

    assert "\n0 workspaces are stuck; 2 are provisioning. The next deadline is that of next, in " in text


def test_sweep_stuck_dry_run_prints_the_next_deadlines():
    factories.booting(name="patient", runtime="hermes")
    near = factories.booting(name="near", now=minutes_ago(4))

    first, *_ = output_of("sweep_stuck", "--dry-run").splitlines()

    assert re.match(rf"Next: near \({near.pk}\), in (5 min \d+ s|5 min|6 min) ", first)


def test_sweep_stuck_prints_a_summary():
    factories.booting(now=minutes_ago(11))

    text = output_of("sweep_stuck")

    assert "Checked 1 in " in text
    assert ": 1 failed, 0 held, 0 waiting in a queue that moves; the earliest deadline passed 1 min" in text


def test_sweep_stuck_says_that_nothing_is_provisioning():
    text = output_of("sweep_stuck")

    assert text.endswith("\n0 workspaces are stuck, and 0 are provisioning.\n")
    assert "earliest deadline" not in text


def test_sweep_stuck_as_json():
    stuck = factories.booting(now=minutes_ago(11))

    planned = json_of("sweep_stuck", "--dry-run")
    done = json_of("sweep_stuck")

    assert (planned["dry_run"], done["dry_run"]) == (True, False)
    assert planned["failed"] == done["failed"]
    assert [(row["id"], row["code"]) for row in done["failed"]] == [(str(stuck.pk), "timed_out")]
    found = json_of("sweep_stuck")
    assert {name: found[name] for name in ("dry_run", "failed", "set_aside")} == {
        "dry_run": False,
        "failed": [],
        "set_aside": [],
    }
    assert found["run"]["flips"] == found["run"]["looked_at"] == 0
