"""After an outage of our own, deadlines and heartbeat limits are extended by the gap, once, with one incident."""

import doctest
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.models import Event
from events.names import EventType
from tests.workspaces.factories import booting, bring_online, hibernated, later, online, queued
from workspaces import tasks
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Heartbeat, Launch, Workspace
from workspaces.models.incidents import Component, Incident, Liveness
from workspaces.services.stopping.hibernate import hibernate
from workspaces.services.watching import intervals
from workspaces.services.watching.intervals import Interval, moment_before
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.outages import record_liveness
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db
LIMIT = timedelta(seconds=180)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def after(minutes):
    return NOON + timedelta(minutes=minutes)


def away(*, part=Component.SWEEP, since, until):
    """Let a part of Slipway be away between two times, in minutes after noon."""
    record_liveness(part=part, now=after(since))
    return record_liveness(part=part, now=after(until))


def test_a_waiting_launch_gets_the_time_of_an_outage_back_once():
    waiting = booting(now=after(0))
    incident = away(since=2, until=22)
    assert incident is not None
    assert incident.count == 1
    assert sweep_stuck(now=after(29.9), policy=Policy()).failed == []
    assert [row.pk for row in sweep_stuck(now=after(30.1), policy=Policy()).failed] == [waiting.pk]


def test_the_override_is_extended_too():
    booting(now=after(0))
    away(since=0.5, until=20.5)
    minute = Policy(override_seconds=60)
    assert sweep_stuck(now=after(20.9), policy=minute).failed == []
    assert len(sweep_stuck(now=after(21.1), policy=minute).failed) == 1


def test_a_launch_that_began_in_the_gap_gets_back_only_what_it_lost():
    record_liveness(part=Component.SWEEP, now=after(0))
    begun = booting(now=after(15))
    record_liveness(part=Component.SWEEP, now=after(20))
    begun.refresh_from_db()
    assert begun.deadline_at == after(30)


def test_sweep_and_web_away_together_are_one_outage():
    waiting = booting(now=after(0))
    for component in Component:
        record_liveness(part=component, now=after(1))
    record_liveness(part=Component.WEB, now=after(11))
    record_liveness(part=Component.SWEEP, now=after(11.5))
    waiting.refresh_from_db()
    assert waiting.deadline_at == after(20.5)
    assert Incident.objects.count() == 1
    events = Event.objects.filter(event_type__in=[EventType.INCIDENT_OPENED, EventType.INCIDENT_RESOLVED])
    assert [event.event_type for event in events.order_by("id")] == ["INCIDENT_OPENED", "INCIDENT_RESOLVED"]


def test_the_interval_between_two_sweeps_does_not_count_as_an_outage():
    waiting = booting(now=after(0))
    for minute in range(5):
        assert record_liveness(part=Component.SWEEP, now=after(minute)) is None
    waiting.refresh_from_db()
    assert waiting.deadline_at == after(10)
    assert Liveness.objects.get().alive_at == after(4)


def test_the_first_liveness_record_does_not_count_as_an_outage():
    assert record_liveness(part=Component.SWEEP, now=after(0)) is None
    assert Incident.objects.count() == 0


def test_a_clock_that_is_behind_does_not_move_the_liveness_record_back():
    record_liveness(part=Component.WEB, now=after(5))
    assert record_liveness(part=Component.WEB, now=after(4)) is None
    assert Liveness.objects.get().alive_at == after(5)


def test_no_workspace_is_lost_because_of_our_own_outage():
    up = online(now=after(0))
    away(since=1, until=60)
    assert mark_silent_offline(now=after(61.9), limit=LIMIT) == []
    assert [row.pk for row in mark_silent_offline(now=after(62.1), limit=LIMIT)] == [up.pk]
    assert Heartbeat.objects.get(pk=up.pk).last_heartbeat_at == after(0)


def test_while_the_web_is_silent_no_workspace_is_lost_or_failed():
    up, late = online(now=after(0)), booting(now=after(0))
    record_liveness(part=Component.WEB, now=after(1))
    assert sweep_stuck(now=after(12), policy=Policy()).failed == []
    assert mark_silent_offline(now=after(12), limit=LIMIT) == []
    late.refresh_from_db()
    assert late.held_since == after(12)
    for minute in range(13, 23):
        record_liveness(part=Component.WEB, now=after(minute))
    late.refresh_from_db()
    assert late.deadline_at == after(22)
    assert sweep_stuck(now=after(21.9), policy=Policy()).failed == []
    assert len(sweep_stuck(now=after(22.1), policy=Policy()).failed) == 1
    up.refresh_from_db()
    assert up.status == WorkspaceStatus.ONLINE


def test_a_late_arrivals_grace_is_extended():
    late = booting(now=after(0))
    sweep_stuck(now=after(10.5), policy=Policy())
    away(since=11, until=31)
    assert Launch.objects.get(pk=late.launch_id).teardown_at == after(40.5)
    bring_online(late, now=after(40))
    late.refresh_from_db()
    assert late.status == WorkspaceStatus.ONLINE


def test_a_hibernation_waits_longer_and_a_workspace_without_a_deadline_is_left_alone():
    up = online(now=after(0))
    hibernate(workspace_id=up.pk, forced=False, now=after(0))
    still = hibernated(now=after(0))
    away(since=1, until=11)
    up.refresh_from_db()
    still.refresh_from_db()
    assert up.deadline_at == after(15)
    assert still.deadline_at is None


def test_the_sweep_task_records_liveness_and_extends_deadlines_before_it_fails_workspaces():
    waiting = queued()
    Workspace.objects.filter(pk=waiting.pk).update(
        phase="booting",
        phase_entered_at=later(waiting, minutes=-30),
        deadline_at=later(waiting, minutes=-20),
    )
    Liveness.objects.create(part=Component.SWEEP, alive_at=later(waiting, minutes=-29))
    tasks.sweep_stuck()
    waiting.refresh_from_db()
    assert waiting.status == WorkspaceStatus.PROVISIONING
    assert Incident.objects.get().scope == Component.SWEEP


def test_the_examples_in_docstrings_are_true():
    result = doctest.testmod(intervals, extraglobs={"noon": NOON, "minute": timedelta(minutes=1)})
    assert result.attempted > 10
    assert result.failed == 0


moments = st.integers(0, 100).map(after)
interval = st.tuples(moments, moments).map(sorted).map(lambda ends: Interval(*ends))
gaps = st.lists(interval, max_size=6)


@given(gaps=gaps, limit=st.integers(1, 200))
def test_each_minute_outside_the_gaps_counts_once(gaps, limit):
    since = moment_before(now=after(100), duration=timedelta(minutes=limit), gaps=gaps)
    minutes = int((after(100) - since).total_seconds() // 60)
    heard = [
        minute
        for minute in range(100 - minutes, 100)
        if not any(gap.start <= after(minute) and after(minute + 1) <= gap.end for gap in gaps)
    ]
    assert len(heard) == limit


@given(gap=interval, known=gaps)
def test_uncovered_time_overlaps_nothing_known_and_leaves_nothing_out(gap, known):
    def minutes(spans):
        return {minute for minute in range(100) for span in spans if span.start <= after(minute) < span.end}

    assert minutes(gap.without(known)) == minutes([gap]) - minutes(known)
