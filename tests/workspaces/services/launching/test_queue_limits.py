"""Whose turn it is among the queued launches: the order, the number at once, the pause, and the place that is shown."""

from datetime import timedelta

import pytest
from django.test import override_settings

from postgres.clock import database_now
from tests.callers import holder
from tests.workspaces.factories import external, launching, online, queued
from workspaces.lifecycle.transitions import Phase
from workspaces.models import ApiScope, Launch
from workspaces.services.launching import queue_limits
from workspaces.services.launching.launch import launch

pytestmark = pytest.mark.django_db


def line(number):
    now = database_now()
    return [queued(now=now + timedelta(milliseconds=place)) for place in range(number)]


def begun(workspace):
    launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    workspace.refresh_from_db()
    return workspace.phase != Phase.QUEUED


def test_the_place_in_the_queue_counts_from_one_and_moves_up(fake):
    first, second, third = line(3)
    online(), external(), launching()
    assert queue_limits.queue_positions() == {first.pk: 1, second.pk: 2, third.pk: 3}
    assert begun(first)
    assert queue_limits.queue_positions() == {second.pk: 1, third.pk: 2}


def test_the_api_and_the_page_show_the_place(admin_client):
    _, second = line(2)
    up = online()
    reader = holder(ApiScope.READ)
    assert reader.get(f"/workspaces/{second.pk}").json()["queue_position"] == 2
    assert reader.get(f"/workspaces/{up.pk}").json()["queue_position"] is None
    shown = {row["id"]: row["queue_position"] for row in reader.get("/workspaces").json()}
    assert (shown[str(second.pk)], shown[str(up.pk)]) == (2, None)
    assert "Place in the queue" in admin_client.get(f"/admin/workspaces/workspace/{second.pk}/change/").content.decode()


def test_without_limits_any_queued_launch_may_begin(fake):
    _, second = line(2)
    assert begun(second)


@override_settings(LAUNCH_CONCURRENCY=2)
def test_only_so_many_are_launching_at_once_in_the_order_of_the_queue(fake):
    launching()
    first, second = line(2)
    assert not begun(second)
    assert Launch.objects.get(pk=second.launch_id).dispatched_at is None
    assert begun(first)
    # The first boots by now, so it made room.
    assert queue_limits.next_in_queue(after=first.launch_id) == [(second.pk, second.launch_id)]
    assert queue_limits.next_in_queue(after=second.launch_id) == []
    assert begun(second)


@override_settings(LAUNCH_CONCURRENCY=1)
def test_a_full_backend_begins_nothing(fake):
    launching()
    (first,) = line(1)
    assert not begun(first)
    assert fake.calls == []


@override_settings(LAUNCH_PAUSE_MILLISECONDS=60_000)
def test_a_pause_is_kept_between_two_launches(fake):
    first, second = line(2)
    assert begun(first)
    assert not begun(second)
    Launch.objects.filter(pk=first.launch_id).update(launching_at=database_now() - timedelta(seconds=61))
    assert begun(second)
