"""Actions around the deadline, in every order: one wins, each change records one event, and the log matches the row.

Agent, watcher and sweep act on the launch that the test begins with, which is an earlier launch after a restart. The
agent registers twice: the late registration is a second one, at its own time.
"""

import random
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import permutations

import pytest
from django.db import connection, transaction

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from registry.services import fail_by_watcher
from tests.workspaces.factories import booting, bring_online
from tests.workspaces.invariants import assert_invariants
from tests.workspaces.races.interleaving import thread_group
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import Phase
from workspaces.log_verification import differences
from workspaces.models import Launch, LaunchOutcome, Workspace
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.launching.progress import record_progress
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.teardown import tear_down
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fake")]

FREE_RUNS = 1000
GRACE = timedelta(minutes=10)
MILLISECOND = timedelta(milliseconds=1)


def _register(row, now, *, action):
    try:
        bring_online(row, now=now, card={"name": action})
    except TransitionRefused:
        return False
    return True


def _sweep(row, now):
    report = sweep_stuck(now=now, policy=Policy())
    assert report.set_aside == []
    return [failed.pk for failed in report.failed] == [row.pk]


def _restart(row, now):
    return restart(workspace_id=row.pk, now=now).workspace.launch_id != row.launch_id


def _progress(row, now):
    return record_progress(workspace_id=row.pk, launch_id=row.launch_id, step="install", now=now)[1]


def _bootstrap_failed(row, now):
    return fail_by_watcher(workspace_id=row.pk, launch_id=row.launch_id, error="It broke.", log_tail="", now=now)


# Each returns whether it changed anything.
ACTIONS = {
    "register": partial(_register, action="register"),
    "late register": partial(_register, action="late register"),
    "sweep": _sweep,
    "restart": _restart,
    "progress": _progress,
    "bootstrap-failed": _bootstrap_failed,
}
REGISTERS = frozenset({"register", "late register"})
# An event in the log: the action that caused it, and its type.
LoggedEvent = tuple[str, EventType]
History = tuple[LoggedEvent, ...]
BOOTING = ("create", EventType.WORKSPACE_PROVISIONING)
TIMED_OUT = ("sweep", EventType.WORKSPACE_PROVISION_FAILED)
RESTARTED = ("restart", EventType.WORKSPACE_PROVISIONING)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """When the actions run, relative to the deadline, and what happened before them."""

    at: timedelta
    late_at: timedelta
    # The sweep failed the launch at its deadline; it was stopped at the end of the grace period.
    before: History = ()
    is_torn_down: bool = False

    def prepare(self):
        """Prepare a workspace. Return its row as it was while it booted."""
        row = booting()
        assert row.deadline_at is not None
        if self.before:
            assert _sweep(row, row.deadline_at)
        if self.is_torn_down:
            assert tear_down(launch_id=row.launch_id, now=row.deadline_at + GRACE)
        return row

    def run(self, action, row):
        assert row.deadline_at is not None
        return ACTIONS[action](row, row.deadline_at + self.since_deadline(action))

    def since_deadline(self, action):
        return self.late_at if action == "late register" else self.at

    def is_within_grace(self, action):
        """Return whether a registration comes within the grace period after the sweep failed the launch."""
        failed = timedelta(0) if self.before else self.at
        return self.since_deadline(action) < failed + GRACE and not self.is_torn_down


SCENARIOS = {
    "1 ms before": Scenario(at=-MILLISECOND, late_at=MILLISECOND),
    "1 ms after, and within the grace period": Scenario(at=MILLISECOND, late_at=GRACE),
    "1 ms after, and at its end": Scenario(at=MILLISECOND, late_at=MILLISECOND + GRACE),
    "within the grace period, and at its end": Scenario(at=GRACE - MILLISECOND, late_at=GRACE, before=(TIMED_OUT,)),
    "after the teardown": Scenario(at=GRACE + MILLISECOND, late_at=2 * GRACE, before=(TIMED_OUT,), is_torn_down=True),
}
ORDERS = 720
EACH_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def expected_event(action, history, scenario):
    """Return the event that an action should record after this history. Repeats the rules of the transition table."""
    by, event = last_transition(history)
    if action == "restart":
        return EventType.WORKSPACE_PROVISIONING
    # After a restart the other actions are about an earlier launch. A boot step records no event.
    if by == "restart" or action == "progress":
        return None
    if event == EventType.WORKSPACE_ONLINE:
        return EventType.AGENT_CARD_UPDATED if action in REGISTERS else None
    if action in REGISTERS:
        wins = event == EventType.WORKSPACE_PROVISIONING or (by == "sweep" and scenario.is_within_grace(action))
        return EventType.WORKSPACE_ONLINE if wins else None
    is_late = action != "sweep" or scenario.at >= timedelta(0)
    return EventType.WORKSPACE_PROVISION_FAILED if event == EventType.WORKSPACE_PROVISIONING and is_late else None


def last_transition(history):
    """Return the last transition of the history."""
    return [logged for logged in (BOOTING, *history) if logged[1] != EventType.AGENT_CARD_UPDATED][-1]


def history_of(row):
    """Return the events recorded since the workspace booted, each with the action that caused it."""
    events = Event.objects.filter(workspace_id=row.pk, version__gt=row.version).order_by("version", "id")
    return tuple((_cause(event), EventType(event.event_type)) for event in events)


def _cause(event):
    if event.event_type == EventType.WORKSPACE_PROVISIONING:
        return "restart"
    if event.event_type == EventType.WORKSPACE_PROVISION_FAILED:
        return {"provision_timeout_sweep": "sweep", "bootstrap_watcher": "bootstrap-failed"}[event.payload["source"]]
    return str(event.payload["agent_card"]["name"])


def assert_rows_match(row, history):
    """Check that workspace and launch match the history."""
    is_restarted = RESTARTED in history
    _, won = last_transition(tuple(logged for logged in history if logged != RESTARTED))
    outcome = {
        EventType.WORKSPACE_PROVISIONING: LaunchOutcome.WITHDRAWN if is_restarted else LaunchOutcome.IN_FLIGHT,
        EventType.WORKSPACE_ONLINE: LaunchOutcome.ONLINE,
        EventType.WORKSPACE_PROVISION_FAILED: LaunchOutcome.FAILED,
    }[won]
    assert Launch.objects.get(pk=row.launch_id).outcome == outcome
    now = Workspace.objects.get(pk=row.pk)
    assert (now.launch_id != row.launch_id) == is_restarted
    if is_restarted:
        # Nothing of the earlier launch is left on the new one.
        assert (now.phase, now.progress_step, now.failure_code) == (Phase.QUEUED, "", "")


@EACH_SCENARIO
def test_actions_in_every_order_record_the_expected_events(scenario):
    assert _try_every_order(scenario.prepare(), scenario, known={}) == ORDERS


@pytest.mark.soak
@EACH_SCENARIO
def test_actions_in_every_order_record_the_expected_events_without_a_cache(scenario):
    assert _try_every_order(scenario.prepare(), scenario, known=None) == ORDERS


def _try_every_order(row, scenario, *, known, done=(), history=()):
    """Run each remaining action, continue from there, and roll it back. Return the number of orders.

    `known` holds that number by state, so that equal rows after the same actions are tried once. This is sound because
    no action reads the log.
    """
    history = history or scenario.before
    state = (frozenset(done), last_transition(history), _state_in_database(row))
    if known is not None and state in known:
        return known[state]
    assert_rows_match(row, history)
    assert_invariants()
    left = [action for action in ACTIONS if action not in done]
    orders = 0 if left else 1
    for action in left:
        with _rolled_back():
            logged = _run_and_check(action, row, scenario, history)
            orders += _try_every_order(row, scenario, known=known, done=(*done, action), history=logged)
    if known is not None:
        known[state] = orders
    return orders


def _run_and_check(action, row, scenario, history):
    """Run an action, check its result and the log against the rules, and return the new history."""
    event = expected_event(action, history, scenario)
    is_stored = action == "progress" and last_transition(history) == BOOTING
    assert scenario.run(action, row) == (event is not None or is_stored)
    logged = history if event is None else (*history, (action, event))
    assert history_of(row) == logged
    return logged


@contextmanager
def _rolled_back():
    savepoint = transaction.savepoint()
    yield
    transaction.savepoint_rollback(savepoint)


def _state_in_database(row):
    """Return everything that an action reads of the workspace, without the random IDs of new launches."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE_QUERY, {"workspace": row.pk})
        text, ids = cursor.fetchone()
    return re.sub("|".join(set(ids) - {str(row.launch_id)}) or "$^", "new", text)


_STATE_QUERY = """
SELECT concat(to_jsonb(row), to_jsonb(beat), jsonb_agg(to_jsonb(launch) ORDER BY queued_at)), array_agg(launch.id::text)
FROM workspaces_workspace AS row
JOIN workspaces_heartbeat AS beat ON beat.workspace_id = row.id
JOIN workspaces_launch AS launch ON launch.workspace_id = row.id
WHERE row.id = %(workspace)s GROUP BY row.*, beat.*
"""


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@EACH_SCENARIO
def test_a_thousand_runs_of_all_actions_at_once_leave_every_expected_history_and_no_other(scenario):
    expected = {_expected_history(order, scenario) for order in permutations(ACTIONS)}
    with thread_group(len(ACTIONS)) as threads:
        seen = Counter(_run_at_once(threads, scenario) for _ in range(FREE_RUNS))
    assert_invariants()
    for (history, is_stored), times in sorted(seen.items(), key=lambda one: -one[1]):
        print(times, ", ".join(f"{action} {event}" for action, event in history), "; progress was stored" * is_stored)
    assert {history for history, _ in seen} == expected
    # A boot step is stored if it comes first, but never after the launch has ended.
    assert {is_stored for _, is_stored in seen} == ({False} if scenario.before else {True, False})


def _expected_history(order, scenario):
    history = scenario.before
    for action in order:
        event = expected_event(action, history, scenario)
        history = history if event is None else (*history, (action, event))
    return history


def _run_at_once(threads, scenario):
    """Run all actions at once on a new workspace. Return its history, and whether the boot step was stored."""
    row = scenario.prepare()
    # The delays vary, so that slow actions sometimes come first.
    within_seconds = random.uniform(0, 0.1)  # noqa: S311
    answers = threads.act([partial(scenario.run, action, row) for action in ACTIONS], within_seconds=within_seconds)
    changed = dict(zip(ACTIONS, answers, strict=True))
    history, is_stored = history_of(row), changed.pop("progress")
    # Each action that changed something is in the log once. A refused action is not.
    logged = Counter(action for action, _ in history[len(scenario.before) :])
    assert logged == {action: 1 for action, has_changed in changed.items() if has_changed is not False}
    assert differences(row.pk)[1] == []
    assert_rows_match(row, history)
    # A removed workspace is not overdue in later runs.
    remove(workspace_id=row.pk, confirmed=True, now=database_now())
    return history, is_stored


@pytest.mark.parametrize(
    ("fails_after", "registers_after", "status"),
    [(-0.001, 0, "online"), (0, 0.001, "online"), (0.001, 540, "online"), (0, 599.999, "online"), (0, 600, "failed")],
)
def test_the_deadline_and_the_end_of_the_grace_period_are_exact(fails_after, registers_after, status):
    row = booting()
    assert row.deadline_at is not None
    failed_at = row.deadline_at + timedelta(seconds=fails_after)
    assert _sweep(row, failed_at) == (fails_after >= 0)
    registers_at = failed_at + timedelta(seconds=registers_after)
    assert ACTIONS["late register"](row, registers_at) == (status == "online")
    assert Workspace.objects.get(pk=row.pk).status == status


def test_a_repeated_report_changes_nothing():
    row = booting()
    assert row.deadline_at is not None
    assert _bootstrap_failed(row, row.deadline_at)
    assert not _bootstrap_failed(row, row.deadline_at)
    assert history_of(row) == (("bootstrap-failed", EventType.WORKSPACE_PROVISION_FAILED),)
