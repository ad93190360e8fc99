"""The sweep takes few statements, is not stopped by odd rows, and writes the same as plain SQL."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bench.sweep_in_sql import sweep_in_sql
from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.workspaces.factories import booting, later, launching, queued
from tests.workspaces.unguarded import unguarded
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, Phase, WorkspaceStatus
from workspaces.models import Launch, SweepRun, Workspace
from workspaces.services.launching.progress import record_progress
from workspaces.services.watching import mass_lateness, sweep
from workspaces.services.watching.sweep import overdue_workspaces, sweep_stuck

pytestmark = pytest.mark.django_db
NO_OVERRIDE = Policy()


@pytest.fixture(autouse=True)
def _hold_nothing(settings):
    """These tests have many late launches, which must fail and not be held."""
    settings.BRAKE_LEAST_LATE = 1000


def explained(policy):
    """Return the plan without sequential scans, as in a large table."""
    rows = overdue_workspaces(now=database_now(), policy=policy).select_for_update(of=("self",), skip_locked=True)
    with connection.cursor() as cursor:
        # For a few rows the planner may sort; in a large table it uses the index that has them in order.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    return rows[:1000].explain()


@pytest.mark.parametrize(
    ("policy", "index"),
    [(NO_OVERRIDE, "workspace_deadline"), (Policy(override_seconds=60), "workspace_phase_entered")],
)
def test_the_sweeps_query_is_served_by_its_partial_index(policy, index):
    booting()
    plan = explained(policy)
    assert f"Index Scan using {index} " in plan
    assert "Seq Scan" not in plan


def test_mass_lateness_is_counted_from_an_index_alone():
    late = booting()
    with CaptureQueriesContext(connection) as queries:
        mass_lateness.find_mass_lateness(now=later(late, minutes=11), policy=NO_OVERRIDE)
    (counting,) = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'workspaces_workspace'::regclass"
            " AND indpred IS NOT NULL AND indexrelid <> 'workspace_booting'::regclass"
            " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"
        )
        # With one row all indexes cost nearly the same, so let the planner see this one only.
        for (index,) in cursor.fetchall():
            cursor.execute(f"DROP INDEX {index}")
        for way in ("seqscan", "bitmapscan"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(f"EXPLAIN {counting}")
        assert "Index Only Scan using workspace_booting " in str(cursor.fetchall())


def statements_of_a_sweep(late):
    rows = [booting() for _ in range(late)]
    with CaptureQueriesContext(connection) as queries:
        report = sweep_stuck(now=later(rows[-1], minutes=11), policy=NO_OVERRIDE)
    assert len(report.failed) == late
    return [query["sql"] for query in queries]


def test_a_batch_takes_one_update_and_one_insert_whatever_its_size():
    sweep_stuck(now=database_now(), policy=NO_OVERRIDE)
    few, many = statements_of_a_sweep(2), statements_of_a_sweep(40)
    assert len(few) == len(many)
    for statements in (few, many):
        assert sum("UPDATE workspaces_workspace" in each for each in statements) == 1
        assert sum('UPDATE "workspaces_launch"' in each for each in statements) == 1
        assert sum("INSERT INTO events_event" in each for each in statements) == 1


def test_an_idle_sweep_is_a_few_queries_and_writes_one_row():
    booting()
    sweep_stuck(now=database_now(), policy=NO_OVERRIDE)
    with CaptureQueriesContext(connection) as queries:
        sweep_stuck(now=database_now(), policy=NO_OVERRIDE)
    verbs = [query["sql"].lstrip("(").split()[0] for query in queries]
    assert verbs == ["SELECT"] * (len(verbs) - 1) + ["UPDATE"]
    assert len(verbs) <= 4


def test_the_sweep_writes_the_same_as_plain_sql():
    ours, by_hand = booting(runtime="hermes"), booting(runtime="hermes")
    for row in (ours, by_hand):
        record_progress(workspace_id=row.pk, launch_id=row.launch_id, step="install", now=later(row, minutes=1))
    Workspace.objects.filter(pk=by_hand.pk).update(deadline_at=later(ours, minutes=60))
    now = later(ours, minutes=31)
    assert len(sweep_stuck(now=now, policy=NO_OVERRIDE).failed) == 1
    assert sweep_in_sql(now=later(ours, minutes=61)) == 1
    assert _comparable(ours) == _comparable(by_hand)


def _comparable(workspace):
    """Return all that a failure writes, without what differs by workspace or by the time of the sweep."""
    workspace.refresh_from_db()
    event = Event.objects.get(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_PROVISION_FAILED)
    launch = Launch.objects.get(pk=workspace.launch_id)
    names = ("status", "version", "phase", "deadline_at", "failure_code", "failure_source", "failure_owner")
    known = set(event.payload["known"])
    return {
        **{name: getattr(workspace, name) for name in names},
        "message": workspace.failure_message[:90],
        "payload": {k: v for k, v in event.payload.items() if k not in {"launch_id", "known", "error"}},
        "known": known,
        "subject": event.subject,
        "launch": (launch.outcome, launch.failure_code, launch.teardown_reason, launch.teardown_at - launch.ended_at),
    }


def test_a_row_that_the_database_refuses_is_set_aside_and_the_others_fail(caplog):
    rows = [booting() for _ in range(6)]
    with connection.cursor() as cursor:
        # The event of its next version exists already, so the database refuses to record another.
        cursor.execute(
            "INSERT INTO events_event (event_type, workspace_id, version, is_move, payload, subject)"
            " VALUES ('WORKSPACE_PAUSED', %s, %s, true, %s, '{}')",
            [rows[2].pk, rows[2].version + 1, json.dumps({"name": rows[2].name, "version": rows[2].version + 1})],
        )
    report = sweep_stuck(now=later(rows[-1], minutes=11), policy=NO_OVERRIDE)
    assert [failure.row.pk for failure in report.set_aside] == [rows[2].pk]
    assert len(report.failed) == 5
    assert Workspace.objects.get(pk=rows[2].pk).status == WorkspaceStatus.PROVISIONING
    assert str(rows[2].pk) in str([record.__dict__.get("workspace_id") for record in caplog.records])
    assert SweepRun.objects.get().set_aside == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"progress_at": None},
        {"phase_entered_at": datetime(1, 1, 2, tzinfo=UTC), "progress_at": datetime(1, 1, 2, tzinfo=UTC)},
        {"progress_at": datetime(9999, 12, 30, tzinfo=UTC), "progress_step": "from the future"},
        {"provisioning_started_at": datetime(9999, 12, 30, tzinfo=UTC)},
        {"progress_step": "percent % and {braces} and “quotes”"},
    ],
)
def test_odd_timestamps_and_texts_do_not_stop_the_sweep(odd):
    strange, plain = booting(), booting()
    Workspace.objects.filter(pk=strange.pk).update(**odd)
    report = sweep_stuck(now=later(plain, minutes=11), policy=NO_OVERRIDE)
    assert {row.pk for row in report.failed} == {strange.pk, plain.pk}
    assert report.set_aside == []


def test_a_deadline_far_away_is_not_reached_and_an_ancient_one_is():
    future, ancient = booting(), booting()
    Workspace.objects.filter(pk=future.pk).update(deadline_at=datetime(9999, 12, 30, tzinfo=UTC))
    Workspace.objects.filter(pk=ancient.pk).update(deadline_at=datetime(1, 1, 2, tzinfo=UTC))
    report = sweep_stuck(now=database_now(), policy=NO_OVERRIDE)
    assert [row.pk for row in report.failed] == [ancient.pk]


def test_the_database_refuses_a_provisioning_workspace_without_a_deadline():
    waiting = booting()
    with pytest.raises(Exception, match="workspace_waits_with_a_deadline"), unguarded():
        Workspace.objects.filter(pk=waiting.pk).update(deadline_at=None)


# --- The queue -----------------------------------------------------------------------------------


def test_a_launch_that_waits_in_a_moving_queue_does_not_fail():
    last = queued()
    now = later(last, minutes=11)
    launching(now=now - timedelta(minutes=1))
    report = sweep_stuck(now=now, policy=NO_OVERRIDE)
    assert (report.failed, report.postponed) == ([], 1)
    last.refresh_from_db()
    assert last.deadline_at == now + timedelta(minutes=9)


def test_a_launch_fails_after_its_queue_stalled_for_ten_minutes():
    last = queued()
    moved = later(last, minutes=5)
    taken = launching(now=moved)
    Workspace.objects.filter(pk=taken.pk).update(deadline_at=moved + timedelta(days=1))
    assert sweep_stuck(now=moved + timedelta(minutes=9.9), policy=NO_OVERRIDE).failed == []
    (failed,) = sweep_stuck(now=moved + timedelta(minutes=10.1), policy=NO_OVERRIDE).failed
    assert (failed.pk, failed.failure_code) == (last.pk, FailureCode.NEVER_LAUNCHED)


def test_the_queue_of_another_backend_does_not_count():
    last = queued()
    now = later(last, minutes=11)
    Launch.objects.filter(pk=launching(now=now - timedelta(minutes=1)).launch_id).update(backend="external")
    assert len(sweep_stuck(now=now, policy=NO_OVERRIDE).failed) == 1


def test_with_the_override_a_launch_in_a_moving_queue_does_not_fail_either():
    last = queued()
    now = later(last, minutes=2)
    launching(now=now - timedelta(seconds=30))
    report = sweep_stuck(now=now, policy=Policy(override_seconds=60))
    assert (report.failed, report.postponed) == ([], 1)
    assert len(sweep_stuck(now=now + timedelta(seconds=31), policy=Policy(override_seconds=60)).failed) == 2


# --- Its own record ------------------------------------------------------------------------------


def test_the_sweep_records_what_it_did_and_keeps_one_row():
    late, _ = booting(), queued()
    now = later(late, minutes=12)
    sweep_stuck(now=now, policy=NO_OVERRIDE)
    run = sweep.last_sweep_run()
    assert run is not None
    assert (run.ran_at, run.flips, run.looked_at) == (now, 2, 2)
    assert run.lag_seconds == pytest.approx(120, abs=5)
    sweep_stuck(now=now + timedelta(minutes=1), policy=NO_OVERRIDE)
    assert SweepRun.objects.count() == 1
    assert SweepRun.objects.get().flips == 0


def test_the_admins_first_page_shows_the_last_run(admin_client):
    assert "It has not run yet." in admin_client.get("/admin/").content.decode()
    late = [booting() for _ in range(3)]
    sweep_stuck(now=later(late[-1], minutes=11), policy=NO_OVERRIDE)
    page = " ".join(admin_client.get("/admin/").content.decode().split())
    assert "<dt>Overdue workspaces checked</dt> <dd>3; the earliest deadline had passed" in page
    assert "<dt>Failed</dt><dd>3</dd>" in page


def test_the_clock_of_the_host_does_not_count(time_machine):
    fresh = booting()
    time_machine.move_to(datetime.now(UTC) + timedelta(hours=1))
    assert sweep_stuck(now=database_now(), policy=NO_OVERRIDE).failed == []
    time_machine.move_to(datetime.now(UTC) - timedelta(hours=3))
    late = booting(now=database_now() - timedelta(minutes=11))
    (failed,) = sweep_stuck(now=database_now(), policy=NO_OVERRIDE).failed
    assert failed.pk == late.pk
    assert Workspace.objects.get(pk=fresh.pk).phase == Phase.BOOTING
