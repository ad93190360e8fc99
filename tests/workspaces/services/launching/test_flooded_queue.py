"""Thousands of queued launches: Celery's queue stays short, launches begin at their pace, and stops don't wait."""

import json
import shutil
import time
from datetime import timedelta
from itertools import pairwise

import pytest
import redis
from django.conf import settings

from postgres.clock import database_now
from tests.callers import holder
from tests.journeys.stack import Stack
from tests.waiting import wait_until
from tests.workspaces.factories import bring_online, launching, queue_up
from workspaces import operations, tasks
from workspaces.lifecycle.transitions import Phase
from workspaces.models import ApiScope, Launch, Workspace
from workspaces.provisioners.base import LaunchKey, LaunchSpec
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.launching.launch import enter_booting
from workspaces.workers import LAUNCH_QUEUE, STOP_QUEUE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]
QUEUED = 5000
WATCHED_SECONDS = 8
MOST_LAUNCH_MESSAGES = 2 * 4
# Several processes may each add as many as there are slots at the same moment.
MOST_STOP_MESSAGES = 25 * 8 + 3 * 8


@pytest.fixture
def simulated(child_environment, settings):
    """A stack whose launches are simulated, so that thousands of them cost nothing."""
    settings.PROVISIONER = "simulated"
    stack = Stack(child_environment)
    stack.configure(PROVISIONER="simulated", ALLOW_SIMULATOR="true")
    try:
        yield stack
    finally:
        stack.stop()
        print(stack.output)
    shutil.rmtree(settings.DATA_DIR / "simulated", ignore_errors=True)


def begun():
    return Launch.objects.filter(launching_at__isnull=False).count()


def run_online(number):
    """Return workspaces that run on the simulated backend."""
    running = []
    for _ in range(number):
        workspace = launching()
        key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
        spec = LaunchSpec(key=key, environment={}, config={}, token="t", start_timeout_seconds=1)
        seen = get_provisioner("simulated").start(spec)
        enter_booting(workspace_id=workspace.pk, launch_id=workspace.launch_id, observation=seen, now=database_now())
        running.append(bring_online(Workspace.objects.get(pk=workspace.pk)))
    return running


def waiting(task):
    """Return how many messages to a task wait in its queue, among those that beat sends there."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        queue = settings.CELERY_TASK_ROUTES[task.name]["queue"]
        messages = client.lrange(f"{settings.REDIS_PREFIX}{queue}", 0, -1)
    return sum(json.loads(message)["headers"]["task"] == task.name for message in messages)


def longest(task, *, seconds, until=lambda: True):
    """Watch a queue for so long, and until then; return the most messages to this task that waited in it."""
    end, most = time.monotonic() + seconds, 0

    def look():
        nonlocal most
        most = max(most, waiting(task))
        return time.monotonic() >= end and until()

    wait_until(look)
    return most


def shortest_pause():
    """Return the shortest time between the beginnings of two queued launches."""
    launches = Launch.objects.filter(workspace__name__startswith="queued-", launching_at__isnull=False)
    moments = launches.order_by("launching_at").values_list("launching_at", flat=True)
    return min(second - first for first, second in pairwise(moments))


@pytest.mark.parametrize(
    ("limits", "least", "milliseconds"),
    [
        ({"LAUNCH_CONCURRENCY": "2"}, 20, 0),
        ({}, 20, 0),
        ({"LAUNCH_CONCURRENCY": "2", "LAUNCH_PAUSE_MILLISECONDS": "500"}, 8, 500),
    ],
)
def test_5000_queued_launches_begin_at_their_pace_with_few_messages_and_a_pause_does_not_wait_for_them(
    simulated, limits, least, milliseconds
):
    (paused,) = run_online(1)
    queue_up(QUEUED, backend="simulated")
    simulated.configure(**limits)
    simulated.start("sweep", "beat", "launch", "stop")
    wait_until(lambda: begun() > 3)
    before = begun()
    moves_on = lambda: begun() - before >= least  # noqa: E731
    assert longest(tasks.launch, seconds=WATCHED_SECONDS, until=moves_on) <= MOST_LAUNCH_MESSAGES
    if milliseconds:
        assert shortest_pause() >= timedelta(milliseconds=milliseconds)
    asked, earlier = time.monotonic(), begun()
    operations.pause(paused.pk)
    wait_until(lambda: Launch.objects.filter(pk=paused.launch_id, torn_down_at__isnull=False).exists())
    assert begun() < QUEUED
    print(f"{limits}: the pause took {time.monotonic() - asked:.2f} s, in which {begun() - earlier} launches began")


def test_without_workers_the_queues_stay_as_short_and_creating_more_sends_nothing(simulated, settings):
    queue_up(QUEUED, backend="simulated")
    Launch.objects.filter(workspace__name__lt="queued-03000").update(
        teardown_at=database_now(), launching_at=database_now()
    )
    simulated.start("sweep", "beat")
    wait_until(lambda: waiting(tasks.launch) and waiting(tasks.tear_down))
    # Each message counts as lost after 20 seconds, each stop after 10.
    for _ in range(4):
        Launch.objects.filter(dispatched_at__isnull=False).update(dispatched_at=database_now() - timedelta(minutes=20))
        assert longest(tasks.tear_down, seconds=1.5) <= MOST_STOP_MESSAGES
    operator = holder(ApiScope.OPERATE)
    for place in range(30):
        assert operator.post("/workspaces", {"name": f"more {place}", "config": "runtime: echo"}).status_code == 201
    assert waiting(tasks.launch) <= MOST_LAUNCH_MESSAGES
    assert waiting(tasks.tear_down) <= MOST_STOP_MESSAGES


def test_stops_are_done_while_no_launch_worker_runs_and_launches_while_no_stop_worker_runs(simulated):
    (paused,) = run_online(1)
    (queued,) = queue_up(1, backend="simulated")
    simulated.start("sweep", "beat", "stop")
    operations.pause(paused.pk)
    wait_until(lambda: Launch.objects.filter(pk=paused.launch_id, torn_down_at__isnull=False).exists())
    assert Workspace.objects.get(pk=queued.pk).phase == Phase.QUEUED
    simulated.kill("stop")
    simulated.start("launch")
    wait_until(lambda: Workspace.objects.get(pk=queued.pk).phase == Phase.BOOTING)


def test_stops_that_an_older_release_sent_to_the_launch_workers_are_still_done(simulated):
    (paused,) = run_online(1)
    operations.pause(paused.pk)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(f"{settings.REDIS_PREFIX}{STOP_QUEUE}")
    tasks.tear_down.apply_async(kwargs={"launch_id": str(paused.launch_id)}, queue=LAUNCH_QUEUE)
    simulated.start("launch")
    wait_until(lambda: Launch.objects.filter(pk=paused.launch_id, torn_down_at__isnull=False).exists())


def test_the_metrics_count_messages_by_queue_and_queued_launches_by_backend(client):
    queue_up(30, backend="simulated")
    tasks.dispatch_due()
    shown = client.get("/metrics").content.decode()
    assert 'slipway_queued_launches{backend="simulated"} 30.0' in shown
    assert 'slipway_queued_launches{backend="process"} 0.0' in shown
    assert f'slipway_queue_messages{{queue="launch"}} {MOST_LAUNCH_MESSAGES}.0' in shown
    assert 'slipway_queue_messages{queue="stop"} 0.0' in shown
    assert 'slipway_queue_messages{queue="sweep"} 0.0' in shown
