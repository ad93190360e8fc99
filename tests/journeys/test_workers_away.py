"""Workers that were away while beat went on: what piled up is done once, not message by message."""

from datetime import timedelta

import pytest
import redis
from django.conf import settings

from postgres.clock import database_now
from tests.journeys.stack import settled
from tests.waiting import wait_until
from tests.workspaces.factories import booting
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import SweepRun

pytestmark = [pytest.mark.journey, pytest.mark.django_db(transaction=True)]
# As beat leaves in two and a half hours.
PILE = 300
SWEEP_PROCESSES = 2


QUEUE, TAKEN = f"{settings.REDIS_PREFIX}sweep", f"{settings.REDIS_PREFIX}unacked"


@pytest.fixture
def broker():
    """The queue of the sweeps, with nothing in it."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(QUEUE, TAKEN)
        yield client


def waiting(broker):
    return int(broker.llen(QUEUE)) + int(broker.hlen(TAKEN))


def test_a_pile_of_sweeps_is_one_sweep_a_process_and_the_late_are_found_at_once(stack, broker):
    late = booting(now=database_now() - timedelta(minutes=11))
    stack.start("beat")
    for _ in range(PILE):
        tasks.sweep_stuck.delay()
    wait_until(lambda: waiting(broker) > PILE + 10)
    stack.kill("beat")
    # So long that no two sweeps of one process are due while this test runs.
    stack.children["sweep"].environment = {**stack.children["sweep"].environment, "SWEEP_INTERVAL_SECONDS": "600"}
    stack.start("sweep")
    ran_at = set()
    while waiting(broker):
        ran_at.update(SweepRun.objects.values_list("ran_at", flat=True))
    assert settled(late).failure_code == FailureCode.TIMED_OUT
    assert 1 <= len(ran_at) <= SWEEP_PROCESSES
