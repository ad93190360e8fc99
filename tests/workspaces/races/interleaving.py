"""Runs two actions at once, each in its own thread and connection: freely, or in an order that the test states.

An order is forced at three points of each transaction that locks workspaces, recognised by its statements: before its
first lock, after its guards (before it first writes a workspace), and before its commit.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections

from events.models import Event
from events.names import EventType
from tests.waiting import PATIENCE_SECONDS
from workspaces.log_verification import TARGETS
from workspaces.models import Workspace
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.core.trees import BadParent

WAIT_SECONDS = PATIENCE_SECONDS
REFUSALS = (TransitionRefused, InvalidWorkspace, BadParent)
Action = Callable[[], Any]
# (workspace, version) of a move, and the status it led to.
Moves = dict[tuple[UUID, int], str]

# The move events that the running transaction has written.
_OWN_MOVES = """
SELECT workspace_id, version, event_type FROM events_event
WHERE id > %s AND is_move AND pg_xact_status(xmin::text::xid8) = 'in progress'
"""


def orders(points):
    """Return every order in which two actions can pass this many points each: 20 orders for three points each."""
    first, second = points
    places = range(first + second)
    return [tuple(0 if turn in mine else 1 for turn in places) for mine in combinations(places, first)]


class ThreadGroup:
    """Threads with a connection each that run actions at once."""

    def __init__(self, size):
        self._pool = ThreadPoolExecutor(size)
        # Each thread waits until all have an action, so that no thread takes two.
        self._barrier = threading.Barrier(size)

    def act(self, actions, *, within_seconds=0):
        """Run the actions at once, or each after a random delay. Return results; a refusal is a result."""
        moments = [random.uniform(0, within_seconds) for _ in actions]  # noqa: S311
        delayed = [_after(moment, action) for moment, action in zip(moments, actions, strict=True)]
        return [running.result(WAIT_SECONDS) for running in [self._pool.submit(self._run, one) for one in delayed]]

    def _run(self, action):
        self._barrier.wait(WAIT_SECONDS)
        return _result_of(action)


@contextmanager
def thread_group(size):
    threads = ThreadGroup(size)
    try:
        yield threads
    finally:
        threads.act([lambda: connection.close()] * size)


def run_together(*actions):
    """Run the actions at once, each in its own thread and connection. Return results; a refusal is a result."""
    with thread_group(len(actions)) as threads:
        return threads.act(actions)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result or refusal of each action, and the outcome: the transitions in their order and who made them.

    For example `register online, restart provisioning`; with several workspaces `child: …; parent: …`, ordered by name;
    empty if nothing changed.
    """

    results: Mapping[str, Any]
    outcome: str


class Racer:
    """A thread with a connection that waits at each point until it may pass."""

    def __init__(self, recorded):
        self._pool = ThreadPoolExecutor(1)
        self._changed = recorded
        self._permits = self._reached = 0
        self._passed = set()
        self.moves = {}
        self.pid = self._pool.submit(_backend_pid).result(WAIT_SECONDS)

    def begin(self, action, *, since, is_free):
        """Start the action; it runs to its first point, or to its end if it is free. `since` is the last event's id."""
        self._permits, self._reached, self.moves = (100 if is_free else 0), 0, {}
        self.running = self._pool.submit(self._run, action, since)
        self.running.add_done_callback(lambda _: self.pass_point(0))

    def pass_point(self, count=1):
        with self._changed:
            self._permits += count
            self._changed.notify_all()

    def is_stopped(self):
        """Return whether the action ended or waits at a point."""
        return self.running.done() or self._reached > self._permits

    def is_blocked(self):
        """Return whether the action waits for a lock in the database."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [self.pid])
            return bool(cursor.fetchone()[0])

    def close(self):
        self._pool.submit(lambda: connection.close()).result(WAIT_SECONDS)
        self._pool.shutdown()

    def _run(self, action, since):
        self._passed = set()

        def committing():
            if "lock" in self._passed:
                self._stop_before("commit")
            self.moves |= _own_moves(since)
            self._passed.clear()

        with connection.execute_wrapper(self._watched), _before_commit(committing):
            return _result_of(action)

    def _watched(self, execute, statement, *rest):
        text = statement if isinstance(statement, str) else statement.as_string(None)
        if " FOR NO KEY UPDATE" in text or (not connection.in_atomic_block and _writes(text)):
            self._stop_before("lock")
        if "lock" in self._passed and _writes(text, of="workspaces_workspace"):
            self._stop_before("write")
        try:
            return execute(statement, *rest)
        finally:
            # In autocommit, the next statement is a new transaction with its own points.
            if not connection.in_atomic_block:
                self._passed.clear()

    def _stop_before(self, point):
        if point not in self._passed:
            self._passed.add(point)
            self._reach()

    def _reach(self):
        with self._changed:
            self._reached += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._reached <= self._permits, WAIT_SECONDS), "never allowed to pass"


class Interleaving:
    """Two racers that can run any number of races. Close it at the end."""

    def __init__(self):
        self._changed = threading.Condition()
        self._racers = (Racer(self._changed), Racer(self._changed))

    def run_in_order(self, actions, order):
        """Start both, then let them pass their points in this order, as far as locks allow."""
        since = self._begin(actions, is_free=False)
        self._settle()
        for turn in order:
            self._racers[turn].pass_point()
            self._settle()
        for racer in self._racers:
            racer.pass_point(100)
        return self._result(actions, since)

    def run_freely(self, actions):
        """Start both at once, one of them a moment later."""
        late = random.randrange(2)  # noqa: S311
        delay = random.uniform(0, 0.02)  # noqa: S311
        delayed = {
            name: _after(delay, action) if place == late else action
            for place, (name, action) in enumerate(actions.items())
        }
        return self._result(actions, self._begin(delayed, is_free=True))

    def close(self):
        for racer in self._racers:
            racer.close()

    def _begin(self, actions, *, is_free):
        since = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
        for racer, action in zip(self._racers, actions.values(), strict=True):
            racer.begin(action, since=since, is_free=is_free)
        return since

    def _settle(self):
        """Wait until each waits at a point or for a lock, or has ended."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: all(racer.is_stopped() for racer in self._racers), 0.005)
            if all(racer.is_stopped() or racer.is_blocked() for racer in self._racers):
                return
            assert time.monotonic() < end, "an action neither reached a point nor waited for a lock nor ended"

    def _result(self, actions, since):
        results = [racer.running.result(WAIT_SECONDS) for racer in self._racers]
        by = {
            move: f"{name} {status}"
            for name, racer in zip(actions, self._racers, strict=True)
            for move, status in racer.moves.items()
        }
        events = Event.objects.filter(id__gt=since, is_move=True)
        assert set(by) == set(events.values_list("workspace_id", "version")), "neither or both wrote a move's event"
        return Result(results=dict(zip(actions, results, strict=True)), outcome=_outcome(by))


@contextmanager
def interleaving():
    pair = Interleaving()
    try:
        yield pair
    finally:
        pair.close()


def _outcome(by):
    names = dict(Workspace.objects.filter(pk__in={pk for pk, _ in by}).values_list("pk", "name"))
    recorded = {}
    for pk, version in sorted(by, key=lambda move: (names[move[0]], move[1])):
        recorded.setdefault(names[pk], []).append(by[pk, version])
    if len(recorded) == 1:
        return ", ".join(*recorded.values())
    return "; ".join(f"{name}: {', '.join(moves)}" for name, moves in recorded.items())


def _result_of(action):
    try:
        return action()
    except REFUSALS as refused:
        return refused


def _after(seconds, action):
    def act():
        time.sleep(seconds)
        return action()

    return act


def _writes(statement, *, of=""):
    if "FROM workspaces_store_heartbeat(" in statement:
        return not of
    return re.match(rf'(UPDATE|INSERT INTO|DELETE FROM) "?{of}', statement) is not None


@contextmanager
def _before_commit(hook):
    """Call the hook before each commit of this thread's connection."""
    here = connections[DEFAULT_DB_ALIAS]
    commit = here.commit

    def call_hook_and_commit():
        hook()
        commit()

    here.commit = call_hook_and_commit
    try:
        yield
    finally:
        del here.commit


def _own_moves(since):
    with connection.cursor() as cursor:
        cursor.execute(_OWN_MOVES, [since])
        return {(pk, version): TARGETS[EventType(name)].value for pk, version, name in cursor.fetchall()}


def _backend_pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]
