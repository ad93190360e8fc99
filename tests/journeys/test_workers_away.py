"""Workers that were away while beat kept sending: the backlog runs once, not message by message."""

from datetime import timedelta

import pytest
import redis
from django.conf import settings

from postgres.clock import database_now
from tests.journeys.stack import wait_for_result
from tests.waiting import wait_until
from tests.workspaces.factories import booting
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import SweepRun

pytestmark = [pytest.mark.journey, pytest.mark.django_db(transaction=True)]
# As many messages as beat sends in two and a half hours.
BACKLOG = 300
SWEEP_PROCESSES = 2


QUEUE, TAKEN = f"{settings.REDIS_PREFIX}sweep", f"{settings.REDIS_PREFIX}unacked"


@pytest.fixture
def broker():
    """The queue of the sweeps, emptied."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(QUEUE, TAKEN)
        yield client


def waiting(broker):
    return int(broker.llen(QUEUE)) + int(broker.hlen(TAKEN))


def test_a_backlog_of_sweep_messages_runs_one_sweep_in_each_process(stack, broker):
    late = booting(now=database_now() - timedelta(minutes=11))
    stack.start("beat")
    for _ in range(BACKLOG):
        tasks.sweep_stuck.delay()
    wait_until(lambda: waiting(broker) > BACKLOG + 10)
    stack.kill("beat")
    # No process sweeps twice while this test runs.
    stack.children["sweep"].environment = {**stack.children["sweep"].environment, "SWEEP_INTERVAL_SECONDS": "600"}
    stack.start("sweep")
    ran_at = set()
    while waiting(broker):
        ran_at.update(SweepRun.objects.values_list("ran_at", flat=True))
    ran_at.update(SweepRun.objects.values_list("ran_at", flat=True))
    assert wait_for_result(late).failure_code == FailureCode.TIMED_OUT
    assert 1 <= len(ran_at) <= SWEEP_PROCESSES


def test_a_preflight_says_whether_a_worker_is_alive_that_launches(stack):
    template = str(settings.BASE_DIR / "catalog" / "echo")
    without = stack.command("preflight", template, "--here")
    assert (without.returncode, without.stdout.count("[no_worker]")) == (1, 1), without.stdout + without.stderr
    assert stack.command("preflight", template).returncode == 0
    stack.start("launch")
    wait_until(lambda: stack.command("preflight", template, "--here").returncode == 0)
