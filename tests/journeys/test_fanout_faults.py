"""Every event arrives signed, with its ID and in order, whichever process, server or receiver fails.

The figures of the soak's runs are in docs/explanation/events.md.
"""

import random
import threading
import time
from dataclasses import dataclass

import pytest

from config.log_format import BrokerOutages
from tests.events.channels.receivers import Answer, receiving
from tests.journeys.fanout_world import World, check, check_order, taken_ids
from tests.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.journey


@dataclass(frozen=True)
class Size:
    """The number of events and the durations of a test run."""

    events: int
    # The time over which the events are produced.
    seconds: float
    away_seconds: float
    # How long a receiver stays down after the first attempt: until the third delay between attempts.
    down_seconds: float
    patience_seconds: float
    divisor: int
    # How often a process is killed, each time after a further part of the events has begun.
    kills: int


CI = Size(events=300, seconds=6, away_seconds=5, down_seconds=2.5, patience_seconds=200, divisor=100, kills=3)
SOAK = Size(events=5000, seconds=90, away_seconds=60, down_seconds=90, patience_seconds=1500, divisor=1, kills=50)
SIZES = [pytest.param(CI, id="ci"), pytest.param(SOAK, id="soak", marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]


@pytest.fixture(scope="module", params=SIZES)
def size(request):
    return request.param


@pytest.fixture(scope="module")
def world(size, tmp_path_factory):
    environment = {"DELIVERY_RETRY_DIVISOR": str(size.divisor), "DELIVERY_LEASE_SECONDS": "4"}
    world = World(tmp_path_factory.mktemp("fanout"), **environment)
    try:
        world.start()
        yield world
    finally:
        world.close()


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


def finish(world, receiver, size, secret, note):
    """Wait until all events have arrived, check them, print the figures, and return the number of duplicates."""
    took = world.await_all(receiver, secret, count=size.events, seconds=size.patience_seconds)
    wait_until(world.settled, seconds=size.patience_seconds)
    duplicates = check(world, receiver, secret, count=size.events)
    print(f"{note}: {size.events} events, {duplicates} duplicates, the last {took:.1f} s after the fault")
    return duplicates


def finish_listening(listener, size):
    """Wait until the live client has received all events, and check them."""
    wait_until(lambda: listener.has_received(size.events), seconds=size.patience_seconds)
    listener.check(size.events)
    print(f"  the live client received them all, over {listener.opened} streams")


@pytest.mark.parametrize("victim", ["relay", "deliver", "web", "any"])
def test_no_event_is_lost_if_our_processes_are_killed(world, receiver, size, victim):
    _, secret = world.channel(receiver.url)
    held, may_answer = [], threading.Event()
    may_answer.set()

    def answer(request):
        if not may_answer.is_set():
            held.append(request)
        return Answer(wait_seconds=0.05, released=may_answer)

    receiver.answer = answer
    with world.listening() as listener:
        # Deliver is killed while messages are being sent.
        done = {"relay": world.position, "deliver": lambda: len(held), "web": lambda: len(listener.events)}
        victims = [victim] if victim != "any" else list(done)
        producer = world.producer(count=size.events, seconds=size.seconds, parts=size.kills + 1)
        chance = random.Random(len(victims))  # noqa: S311
        for number in range(size.kills):
            name = victims[number % len(victims)]
            if name == "deliver":
                may_answer.clear()
            kill_at_work(world, name, done[name], after_seconds=chance.uniform(0, 0.5))
            may_answer.set()
        world.produce_next_part()
        assert producer.wait(size.patience_seconds) == 0
        duplicates = finish(world, receiver, size, secret, f"SIGKILL of {victim}, {size.kills} times")
        check_order(receiver)
        finish_listening(listener, size)
    assert victim != "deliver" or duplicates > 0


def kill_at_work(world, name, done, *, after_seconds):
    """Let a part of the events be produced, and kill this child once it has begun to work on them."""
    before = done()
    world.produce_next_part()
    wait_until(lambda: done() > before)
    time.sleep(after_seconds)
    world.restart(name)


def test_no_event_is_delayed_while_redis_is_away(world, receiver, size):
    _, secret = world.channel(receiver.url)
    pids, length_before = world.pids(), len(world.log.getvalue())
    new_output = lambda: world.log.getvalue()[length_before:]  # noqa: E731
    with world.listening() as listener:
        producer = world.producer(count=size.events, seconds=size.seconds, parts=2)
        world.produce_next_part()
        wait_until(lambda: taken_ids(receiver))
        began = time.monotonic()
        with world.away(world.redis, seconds=size.away_seconds):
            before, received_before = len(taken_ids(receiver)), len(listener.events)
            world.produce_next_part()
            # Events still arrive while Redis is away.
            wait_until(lambda: len(taken_ids(receiver)) > before and len(listener.events) > received_before)
            wait_until(lambda: "celery.beat: Redis can't be reached" in new_output())
        away_seconds = time.monotonic() - began
        assert producer.wait(size.patience_seconds) == 0
        finish(world, receiver, size, secret, f"Redis away for {away_seconds:.0f} s")
        check_order(receiver)
        finish_listening(listener, size)
        assert listener.opened == 1
    assert world.pids() == pids
    # Processes that need Redis log one line, not a traceback for each attempt.
    assert "Traceback" not in new_output()
    lines = new_output().count("Redis can't be reached")
    # It takes a while until Redis answers again.
    assert lines <= 1 + (time.monotonic() - began) / BrokerOutages.EVERY_SECONDS


def test_no_event_is_lost_if_postgres_crashes(world, receiver, size):
    _, secret = world.channel(receiver.url)
    pids = world.pids()
    with world.listening() as listener:
        producer = world.producer(count=size.events, seconds=size.seconds, parts=3)
        for _ in range(2):
            before = len(taken_ids(receiver))
            world.produce_next_part()
            wait_until(lambda: len(taken_ids(receiver)) > before)  # noqa: B023
            time.sleep(size.seconds / 12)
            with world.away(world.postgres, seconds=1):
                pass
        world.produce_next_part()
        assert producer.wait(size.patience_seconds) == 0
        finish(world, receiver, size, secret, "Postgres crashed twice")
        check_order(receiver)
        finish_listening(listener, size)
    assert world.pids() == pids
    assert all(not child.has_exited for child in world.children.values())


MISBEHAVIOURS = {
    "slow": Answer(wait_seconds=1),
    "hanging": Answer(wait_seconds=5),
    "resetting": Answer(status=0),
    "failing": Answer(status=500),
    "too busy": Answer(status=429, headers={"Retry-After": "1"}),
    "elsewhere": Answer(status=302, headers={"Location": "http://10.0.0.1/"}),
}


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
def test_a_receiver_that_misbehaves_gets_everything_afterwards(world, receiver, size, misbehaviour):
    _, secret = world.channel(receiver.url)
    pids = world.pids()
    receiver.answer = at_first(MISBEHAVIOURS[misbehaviour], seconds=size.away_seconds / 2)
    producer = world.producer(count=size.events, seconds=size.seconds / 3)
    assert producer.wait(size.patience_seconds) == 0
    finish(world, receiver, size, secret, f"a receiver that is {misbehaviour}")
    check_order(receiver)
    assert world.pids() == pids


def at_first(misbehaviour, *, seconds):
    """Misbehave for this many seconds from the first request on, then answer well."""
    asked_at = []

    def answer(request):
        asked_at.append(time.monotonic())
        return misbehaviour if asked_at[-1] <= asked_at[0] + seconds else Answer()

    return answer


def test_a_receiver_that_was_down_gets_everything_afterwards(world, size):
    port = free_port()
    _, secret = world.channel(f"http://127.0.0.1:{port}/hook")
    producer = world.producer(count=size.events, seconds=size.seconds / 3)
    wait_until(lambda: world.query("SELECT 1 FROM events_delivery WHERE attempts > 0 LIMIT 1"))
    time.sleep(size.down_seconds)
    with receiving(port) as receiver:
        assert producer.wait(size.patience_seconds) == 0
        finish(world, receiver, size, secret, "a receiver that was down")


def test_a_receiver_that_redirected_to_a_private_address_gets_its_dead_letters_after_a_redrive(world, receiver, size):
    with receiving() as private:
        key, secret = world.channel(receiver.url)
        receiver.answer = lambda request: Answer(301, {"Location": private.url})
        producer = world.producer(count=size.events, seconds=1)
        assert producer.wait(size.patience_seconds) == 0
        wait_until(world.settled, seconds=size.patience_seconds)
        assert private.received == []
        assert receiver.accepted == []
        receiver.answer = lambda request: Answer()
        world.operate(f"channel_operations.redrive(Delivery.objects.filter(channel_id={key}), now=database_now())")
        finish(world, receiver, size, secret, "a receiver that answered 301")
        assert private.received == []


def test_a_receiver_that_answered_410_gets_queued_events_once_its_channel_is_enabled(world, receiver, size):
    key, secret = world.channel(receiver.url, event_types=["WORKSPACE_ONLINE"])
    world.operate(f"channel_operations.pause(Channel.objects.filter(pk={key}), now=database_now())")
    producer = world.producer(count=size.events, seconds=1)
    assert producer.wait(size.patience_seconds) == 0
    queued = f"SELECT count(*) FROM events_delivery WHERE channel_id = {key}"  # noqa: S608
    wait_until(lambda: world.query(queued) == [(size.events,)])
    receiver.answer = lambda request: Answer(410)
    world.operate(f"channel_operations.resume(Channel.objects.filter(pk={key}))")
    state = f"SELECT is_enabled FROM events_channel WHERE id = {key}"  # noqa: S608
    wait_until(lambda: world.query(state) == [(False,)])
    opened = "SELECT payload->>'kind' FROM events_event WHERE event_type = 'INCIDENT_OPENED'"
    assert world.query(opened) == [("channel_disabled",)]
    receiver.answer = lambda request: Answer()
    world.operate(f"channel_operations.enable(Channel.objects.filter(pk={key}))")
    finish(world, receiver, size, secret, "a receiver that answered 410")
