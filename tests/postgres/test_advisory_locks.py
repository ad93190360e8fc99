"""Advisory locks by name: what waits for what, and how long."""

import threading

import pytest
from django.db import connection, transaction

from postgres.advisory_locks import AdvisoryLock, lock_until_commit
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_numbers_are_those_of_earlier_releases():
    assert [lock.value for lock in AdvisoryLock] == [7_301_001, 7_301_002, 7_301_003, 7_301_004]


def _takes_at_once(lock, key):
    """Return whether another session gets the lock without waiting for this one's transaction."""
    taken = threading.Event()

    def take():
        try:
            with transaction.atomic():
                lock_until_commit(lock, key=key)
                taken.set()
        finally:
            connection.close()

    with transaction.atomic():
        lock_until_commit(AdvisoryLock.LAUNCH_QUEUE, key="process")
        other = threading.Thread(target=take)
        other.start()
        at_once = taken.wait(0.5 if (lock, key) == (AdvisoryLock.LAUNCH_QUEUE, "process") else PATIENCE_SECONDS)
    other.join(PATIENCE_SECONDS)
    # The end of the transaction releases the lock.
    assert taken.is_set()
    return at_once


@pytest.mark.parametrize(
    ("lock", "key", "at_once"),
    [
        (AdvisoryLock.LAUNCH_QUEUE, "process", False),
        (AdvisoryLock.LAUNCH_QUEUE, "simulated", True),
        (AdvisoryLock.OUTAGES, None, True),
    ],
)
def test_only_callers_of_the_same_lock_and_key_wait_for_each_other(lock, key, at_once):
    assert _takes_at_once(lock, key) is at_once
