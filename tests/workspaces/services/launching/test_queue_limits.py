"""The queue of launches: its order, the concurrency limit, the pause between launches, and the position shown."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from postgres.clock import database_now
from tests.callers import holder
from tests.workspaces.factories import booting, external, launching, online, queue_up, queued
from workspaces.lifecycle.transitions import Phase
from workspaces.models import ApiScope, Launch
from workspaces.services.launching import queue_limits
from workspaces.services.launching.launch import launch

pytestmark = pytest.mark.django_db


def queue_of(number):
    now = database_now()
    return [queued(now=now + timedelta(milliseconds=place)) for place in range(number)]


def begins(workspace):
    launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    workspace.refresh_from_db()
    return workspace.phase != Phase.QUEUED


def test_the_place_in_the_queue_counts_from_one_and_moves_up(fake):
    first, second, third = queue_of(3)
    online(), external(), launching()
    assert queue_limits.queue_positions() == {first.pk: 1, second.pk: 2, third.pk: 3}
    assert begins(first)
    assert queue_limits.queue_positions() == {second.pk: 1, third.pk: 2}


def test_the_api_and_the_page_show_the_place(admin_client):
    _, second = queue_of(2)
    up = online()
    reader = holder(ApiScope.READ)
    assert reader.get(f"/workspaces/{second.pk}").json()["queue_position"] == 2
    assert reader.get(f"/workspaces/{up.pk}").json()["queue_position"] is None
    shown = {row["id"]: row["queue_position"] for row in reader.get("/workspaces").json()}
    assert (shown[str(second.pk)], shown[str(up.pk)]) == (2, None)
    assert "Place in the queue" in admin_client.get(f"/admin/workspaces/workspace/{second.pk}/change/").content.decode()


def test_without_limits_any_queued_launch_may_begin(fake):
    _, second = queue_of(2)
    assert begins(second)


def claimed(*, room=1000, at=None):
    """Return the workspaces of the launches that are to be queued now, the first first."""
    return [workspace_id for workspace_id, _ in queue_limits.claim_next("process", now=at or database_now(), room=room)]


@override_settings(LAUNCH_CONCURRENCY=2)
def test_launches_begin_in_queue_order_up_to_the_concurrency_limit(fake):
    launching()
    first, second = queue_of(2)
    assert not begins(second)
    assert Launch.objects.get(pk=second.launch_id).dispatched_at is None
    assert begins(first)
    # The first boots by now, so it made room.
    assert queue_limits.backend_with_room(after=first.launch_id) == "process"
    assert queue_limits.backend_with_room(after=second.launch_id) is None
    assert claimed() == [second.pk]
    assert begins(second)


@override_settings(LAUNCH_CONCURRENCY=1)
def test_no_launch_begins_while_the_limit_is_reached(fake):
    launching()
    (first,) = queue_of(1)
    assert claimed() == []
    assert not begins(first)
    assert fake.calls == []


@override_settings(LAUNCH_CONCURRENCY=1)
def test_a_launch_whose_turn_has_not_come_is_not_prepared(fake, monkeypatch):
    _, second = queue_of(2)
    monkeypatch.setattr("workspaces.services.launching.launch.preflight", lambda _workspace: pytest.fail("prepared"))
    with CaptureQueriesContext(connection) as captured:
        assert not begins(second)
    asked = [query["sql"] for query in captured.captured_queries if "LIMIT greatest" in query["sql"]]
    assert len(asked) == 1


@override_settings(LAUNCH_PAUSE_MILLISECONDS=3_600_000)
def test_a_pause_is_kept_between_two_launches(fake):
    first, second = queue_of(2)
    assert claimed() == [first.pk]
    assert begins(first)
    assert claimed() == []
    assert not begins(second)
    Launch.objects.filter(pk=first.launch_id).update(launching_at=database_now() - timedelta(seconds=3601))
    assert claimed() == [second.pk]
    assert begins(second)


@override_settings(LAUNCH_PAUSE_MILLISECONDS=300)
def test_a_worker_waits_for_the_end_of_a_pause_that_is_over_before_beat_looks_again(fake):
    first, second = queue_of(2)
    assert begins(first)
    assert claimed() == [second.pk]
    assert begins(second)
    began = Launch.objects.order_by("launching_at").values_list("launching_at", flat=True)
    assert began[1] - began[0] >= timedelta(milliseconds=300)


@pytest.mark.parametrize(
    ("limits", "number"),
    [
        ({}, 2 * 4),
        ({"LAUNCH_SLOTS": 3}, 2 * 3),
        ({"LAUNCH_CONCURRENCY": 3}, 3),
        ({"LAUNCH_CONCURRENCY": 1000}, 2 * 4),
        ({"LAUNCH_PAUSE_MILLISECONDS": 1000}, 1),
        ({"LAUNCH_CONCURRENCY": 3, "LAUNCH_PAUSE_MILLISECONDS": 1000}, 1),
    ],
)
def test_of_many_queued_launches_only_the_oldest_for_which_there_are_slots_are_dispatched(settings, limits, number):
    queue = queue_up(50)
    for name, value in limits.items():
        setattr(settings, name, value)
    assert claimed() == [row.pk for row in queue[:number]]
    assert claimed() == []


def test_launches_that_are_starting_take_slots():
    launching(), launching()
    queue = queue_up(20)
    assert claimed() == [row.pk for row in queue[:6]]


def test_no_more_are_dispatched_than_celerys_queue_has_room_for():
    queue = queue_up(20)
    assert claimed(room=3) == [row.pk for row in queue[:3]]
    assert claimed(room=2) == [row.pk for row in queue[3:5]]


@pytest.mark.parametrize("is_analysed", [False, True])
@pytest.mark.parametrize("number", [8, 500])
def test_the_room_is_kept_even_if_postgres_plans_a_nested_loop(number, is_analysed):
    queue = queue_up(number)
    with connection.cursor() as cursor:
        for option in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "indexscan", "bitmapscan"):
            cursor.execute("SELECT set_config(%s, 'off', true)", [f"enable_{option}"])
        if is_analysed:
            cursor.execute("ANALYZE workspaces_launch")
    assert claimed(room=3) == [row.pk for row in queue[:3]]
    assert claimed(room=2) == [row.pk for row in queue[3:5]]


def test_a_launch_whose_message_was_lost_is_dispatched_again_and_the_others_wait():
    queue, now = queue_up(20), database_now()
    first = claimed(at=now)
    assert claimed(at=now + timedelta(seconds=19)) == []
    assert claimed(at=now + timedelta(seconds=21)) == first == [row.pk for row in queue[:8]]


def test_the_next_launches_are_found_by_an_index_however_many_wait(settings):
    settings.LAUNCH_CONCURRENCY = 2
    queue = queue_up(5000)
    booting()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE workspaces_workspace")
        cursor.execute("ANALYZE workspaces_launch")
    with CaptureQueriesContext(connection) as captured:
        assert claimed() == [row.pk for row in queue[:2]]
        assert not queue_limits.may_start(queue[4000], now=database_now())
    statements = [query["sql"] for query in captured.captured_queries if "LIMIT" in query["sql"]]
    assert len(statements) == 3
    for statement in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert plan.count("using workspace_waiting") == (0 if "UPDATE" in statement else 2), plan
        assert "Seq Scan" not in plan, plan
        assert max(float(rows) for rows in re.findall(r"actual rows=([\d.]+)", plan)) < 10, plan
