"""Around the deadline, in every order: one winner, one event a change, and the log agrees with the row.

Who does what: agent, watcher and sweep speak of the launch that the test begins with, so that after a restart theirs
is an old one. The agent speaks twice: the late register is another one, at a time of its own.
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
from tests.workspaces.races.interleaving import crowd
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
MOMENT = timedelta(milliseconds=1)


def _register(row, now, *, act):
    try:
        bring_online(row, now=now, card={"name": act})
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


# Each says whether it changed anything.
ACTS = {
    "register": partial(_register, act="register"),
    "late register": partial(_register, act="late register"),
    "sweep": _sweep,
    "restart": _restart,
    "progress": _progress,
    "bootstrap-failed": _bootstrap_failed,
}
REGISTERS = frozenset({"register", "late register"})
# What the log tells: by which act, which event.
Told = tuple[str, EventType]
Story = tuple[Told, ...]
BOOTING = ("create", EventType.WORKSPACE_PROVISIONING)
FLIPPED = ("sweep", EventType.WORKSPACE_PROVISION_FAILED)
RESTARTED = ("restart", EventType.WORKSPACE_PROVISIONING)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How long after the deadline all act, and how long after it the agent that is late; and what was before."""

    at: timedelta
    late_at: timedelta
    # Failed by a sweep at the very deadline, stopped at the end of the grace.
    before: Story = ()
    is_torn_down: bool = False

    def begin(self):
        """Return the workspace as it was while it booted."""
        row = booting()
        assert row.deadline_at is not None
        if self.before:
            assert _sweep(row, row.deadline_at)
        if self.is_torn_down:
            assert tear_down(launch_id=row.launch_id, now=row.deadline_at + GRACE)
        return row

    def do(self, act, row):
        assert row.deadline_at is not None
        return ACTS[act](row, row.deadline_at + self.since_deadline(act))

    def since_deadline(self, act):
        return self.late_at if act == "late register" else self.at

    def is_within_grace(self, act):
        """Tell whether it would come in time after the sweep's flip."""
        flipped = timedelta(0) if self.before else self.at
        return self.since_deadline(act) < flipped + GRACE and not self.is_torn_down


SCENES = {
    "1 ms before": Scene(at=-MOMENT, late_at=MOMENT),
    "1 ms after, and within the grace": Scene(at=MOMENT, late_at=GRACE),
    "1 ms after, and at its end": Scene(at=MOMENT, late_at=MOMENT + GRACE),
    "within the grace, and at its end": Scene(at=GRACE - MOMENT, late_at=GRACE, before=(FLIPPED,)),
    "after the teardown": Scene(at=GRACE + MOMENT, late_at=2 * GRACE, before=(FLIPPED,), is_torn_down=True),
}
ORDERS = 720
EACH_SCENE = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


def ruled(act, story, scene):
    """Say by the rules what an act tells after such a story: the table of the lifecycle, written down once more."""
    by, event = standing(story)
    if act == "restart":
        return EventType.WORKSPACE_PROVISIONING
    # The launch that these speak of is an old one; a boot step stands in no log.
    if by == "restart" or act == "progress":
        return None
    if event == EventType.WORKSPACE_ONLINE:
        return EventType.AGENT_CARD_UPDATED if act in REGISTERS else None
    if act in REGISTERS:
        wins = event == EventType.WORKSPACE_PROVISIONING or (by == "sweep" and scene.is_within_grace(act))
        return EventType.WORKSPACE_ONLINE if wins else None
    is_late = act != "sweep" or scene.at >= timedelta(0)
    return EventType.WORKSPACE_PROVISION_FAILED if event == EventType.WORKSPACE_PROVISIONING and is_late else None


def standing(story):
    """Return the move that the workspace stands at."""
    return [told for told in (BOOTING, *story) if told[1] != EventType.AGENT_CARD_UPDATED][-1]


def story_of(row):
    """Return what the log tells since it booted, each event by who caused it."""
    events = Event.objects.filter(workspace_id=row.pk, version__gt=row.version).order_by("version", "id")
    return tuple((_teller(event), EventType(event.event_type)) for event in events)


def _teller(event):
    if event.event_type == EventType.WORKSPACE_PROVISIONING:
        return "restart"
    if event.event_type == EventType.WORKSPACE_PROVISION_FAILED:
        return {"provision_timeout_sweep": "sweep", "bootstrap_watcher": "bootstrap-failed"}[event.payload["source"]]
    return str(event.payload["agent_card"]["name"])


def assert_agrees(row, story):
    """Hold workspace and launch to the story that the log tells."""
    is_restarted = RESTARTED in story
    _, won = standing(tuple(told for told in story if told != RESTARTED))
    outcome = {
        EventType.WORKSPACE_PROVISIONING: LaunchOutcome.WITHDRAWN if is_restarted else LaunchOutcome.IN_FLIGHT,
        EventType.WORKSPACE_ONLINE: LaunchOutcome.ONLINE,
        EventType.WORKSPACE_PROVISION_FAILED: LaunchOutcome.FAILED,
    }[won]
    assert Launch.objects.get(pk=row.launch_id).outcome == outcome
    now = Workspace.objects.get(pk=row.pk)
    assert (now.launch_id != row.launch_id) == is_restarted
    if is_restarted:
        # Nothing that was said of the old launch is the new one's.
        assert (now.phase, now.progress_step, now.failure_code) == (Phase.QUEUED, "", "")


@EACH_SCENE
def test_all_acts_in_every_order_tell_what_the_rules_say(scene):
    assert _every_order(scene.begin(), scene, known={}) == ORDERS


@pytest.mark.soak
@EACH_SCENE
def test_all_acts_in_every_order_one_by_one_tell_what_the_rules_say(scene):
    assert _every_order(scene.begin(), scene, known=None) == ORDERS


def _every_order(row, scene, *, known, done=(), story=()):
    """Do each act that is left, go on from there, and take it back. Return how many orders that were.

    What follows from rows that were seen before, after the same acts, is `known`: no act reads the log.
    """
    story = story or scene.before
    state = (frozenset(done), standing(story), _rows(row))
    if known is not None and state in known:
        return known[state]
    assert_agrees(row, story)
    assert_invariants()
    left = [act for act in ACTS if act not in done]
    orders = 0 if left else 1
    for act in left:
        with _taken_back():
            told = _tried(act, row, scene, story)
            orders += _every_order(row, scene, known=known, done=(*done, act), story=told)
    if known is not None:
        known[state] = orders
    return orders


def _tried(act, row, scene, story):
    """Do it, hold what it says and what is told to the rules, and return the story that follows."""
    event = ruled(act, story, scene)
    is_stored = act == "progress" and standing(story) == BOOTING
    assert scene.do(act, row) == (event is not None or is_stored)
    told = story if event is None else (*story, (act, event))
    assert story_of(row) == told
    return told


@contextmanager
def _taken_back():
    savepoint = transaction.savepoint()
    yield
    transaction.savepoint_rollback(savepoint)


def _rows(row):
    """Return all that an act reads of the workspace, but for the random names of new launches."""
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, {"workspace": row.pk})
        text, ids = cursor.fetchone()
    return re.sub("|".join(set(ids) - {str(row.launch_id)}) or "$^", "new", text)


_ROWS = """
SELECT concat(to_jsonb(row), to_jsonb(beat), jsonb_agg(to_jsonb(launch) ORDER BY queued_at)), array_agg(launch.id::text)
FROM workspaces_workspace AS row
JOIN workspaces_heartbeat AS beat ON beat.workspace_id = row.id
JOIN workspaces_launch AS launch ON launch.workspace_id = row.id
WHERE row.id = %(workspace)s GROUP BY row.*, beat.*
"""


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@EACH_SCENE
def test_a_thousand_free_runs_of_all_acts_at_once_leave_one_truth_and_each_legal_story_is_seen(scene):
    legal = {_legal(order, scene) for order in permutations(ACTS)}
    with crowd(len(ACTS)) as agents_and_others:
        seen = Counter(_free_run(agents_and_others, scene) for _ in range(FREE_RUNS))
    assert_invariants()
    for (story, is_stored), times in sorted(seen.items(), key=lambda one: -one[1]):
        print(times, ", ".join(f"{act} {event}" for act, event in story), "; progress was stored" * is_stored)
    assert {story for story, _ in seen} == legal
    # A boot step is stored where it comes first, and nowhere where the launch is over.
    assert {is_stored for _, is_stored in seen} == ({False} if scene.before else {True, False})


def _legal(order, scene):
    story = scene.before
    for act in order:
        event = ruled(act, story, scene)
        story = story if event is None else (*story, (act, event))
    return story


def _free_run(several, scene):
    """Let all act at once on a new workspace; return its story, and whether the boot step was stored."""
    row = scene.begin()
    # Now close together, now so far apart that slow ones come first as well.
    within_seconds = random.uniform(0, 0.1)  # noqa: S311
    answers = several.act([partial(scene.do, act, row) for act in ACTS], within_seconds=within_seconds)
    said = dict(zip(ACTS, answers, strict=True))
    story, is_stored = story_of(row), said.pop("progress")
    # Who says that it changed something is in the log, once; who is refused is not.
    told = Counter(act for act, _ in story[len(scene.before) :])
    assert told == {act: 1 for act, did in said.items() if did is not False}
    assert differences(row.pk)[1] == []
    assert_agrees(row, story)
    # What is over can't be late for the sweeps of the next runs.
    remove(workspace_id=row.pk, confirmed=True, now=database_now())
    return story, is_stored


@pytest.mark.parametrize(
    ("flip_after", "arrives_after", "status"),
    [(-0.001, 0, "online"), (0, 0.001, "online"), (0.001, 540, "online"), (0, 599.999, "online"), (0, 600, "failed")],
)
def test_the_deadline_and_the_end_of_the_grace_are_exact(flip_after, arrives_after, status):
    row = booting()
    assert row.deadline_at is not None
    flipped_at = row.deadline_at + timedelta(seconds=flip_after)
    assert _sweep(row, flipped_at) == (flip_after >= 0)
    arrives_at = flipped_at + timedelta(seconds=arrives_after)
    assert ACTS["late register"](row, arrives_at) == (status == "online")
    assert Workspace.objects.get(pk=row.pk).status == status


def test_a_repeated_report_changes_nothing():
    row = booting()
    assert row.deadline_at is not None
    assert _bootstrap_failed(row, row.deadline_at)
    assert not _bootstrap_failed(row, row.deadline_at)
    assert story_of(row) == (("bootstrap-failed", EventType.WORKSPACE_PROVISION_FAILED),)
