"""False timeouts by runtime: the count, the metric and the admin."""

import re
from datetime import timedelta

import pytest

from tests.workspaces.factories import booting, bring_online, config_for, failed, later, queued
from workspaces.deadlines.false_timeouts import FalseTimeouts, false_timeouts_by_runtime
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, Verb, WorkspaceStatus
from workspaces.models import Launch
from workspaces.services.core.transition import TransitionRefused
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db


def timed_out(runtime="echo"):
    late = booting(config=config_for(runtime), runtime="")
    sweep_stuck(now=later(late, minutes=31), policy=Policy())
    late.refresh_from_db()
    assert late.status == WorkspaceStatus.FAILED
    return late


@pytest.mark.parametrize("verb", [Verb.REGISTER, Verb.HEARTBEAT])
def test_a_late_arrival_counts_as_a_false_timeout_of_its_runtime(verb):
    late = timed_out("hermes")
    timed_out("hermes")
    timed_out("echo")
    bring_online(late, now=late.failure_at + timedelta(minutes=9), verb=verb)
    assert false_timeouts_by_runtime() == [
        FalseTimeouts(runtime="echo", number=1, false=0),
        FalseTimeouts(runtime="hermes", number=2, false=1),
    ]
    assert Launch.objects.get(pk=late.launch_id).false_flip_code == FailureCode.TIMED_OUT


def test_an_arrival_after_the_grace_period_does_not_count_as_a_false_timeout():
    late = timed_out()
    with pytest.raises(TransitionRefused):
        bring_online(late, now=late.failure_at + timedelta(minutes=10))
    assert false_timeouts_by_runtime() == [FalseTimeouts(runtime="echo", number=1, false=0)]


def test_crashes_and_arrivals_in_time_do_not_count_as_timeouts():
    failed()
    bring_online(booting())
    queued()
    assert false_timeouts_by_runtime() == []


def test_the_metrics_count_deadline_failures_and_false_timeouts(client):
    late = timed_out("hermes")
    timed_out("hermes")
    bring_online(late, now=late.failure_at + timedelta(minutes=1))
    told = client.get("/metrics").content.decode()
    assert 'slipway_deadline_flips{runtime="hermes"} 2.0' in told
    assert 'slipway_deadline_false_flips{runtime="hermes"} 1.0' in told


@pytest.mark.parametrize("name", ["slipway_launches", "slipway_deadline_flips", "slipway_deadline_false_flips"])
def test_the_metrics_that_count_a_day_say_so(client, name):
    (told,) = re.findall(f"^# HELP {name} (.*)$", client.get("/metrics").content.decode(), re.MULTILINE)
    assert "last 24 hours" in told


def test_the_admins_first_page_shows_the_share_of_false_timeouts(admin_client):
    late = timed_out("hermes")
    bring_online(late, now=late.failure_at + timedelta(minutes=1))
    page = admin_client.get("/admin/").content.decode()
    assert "<td>hermes</td><td>1</td><td>1</td><td>100 %</td>" in page
