"""The queue of launches: its order, the concurrency limit, the pause between launches, and the position shown."""

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


@override_settings(LAUNCH_CONCURRENCY=2)
def test_launches_begin_in_queue_order_up_to_the_concurrency_limit(fake):
    launching()
    first, second = queue_of(2)
    assert not begins(second)
    assert Launch.objects.get(pk=second.launch_id).dispatched_at is None
    assert begins(first)
    # The first boots by now, so it made room.
    assert queue_limits.next_in_queue(after=first.launch_id) == [(second.pk, second.launch_id)]
    assert queue_limits.next_in_queue(after=second.launch_id) == []
    assert begins(second)


@override_settings(LAUNCH_CONCURRENCY=1)
def test_no_launch_begins_while_the_limit_is_reached(fake):
    launching()
    (first,) = queue_of(1)
    assert not begins(first)
    assert fake.calls == []


@override_settings(LAUNCH_PAUSE_MILLISECONDS=60_000)
def test_a_pause_is_kept_between_two_launches(fake):
    first, second = queue_of(2)
    assert begins(first)
    assert not begins(second)
    Launch.objects.filter(pk=first.launch_id).update(launching_at=database_now() - timedelta(seconds=61))
    assert begins(second)
