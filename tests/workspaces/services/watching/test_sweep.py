"""The main cases of the sweep, with the time passed in."""

from datetime import timedelta

import pytest

from events.models import Event
from events.names import EventType
from tests.workspaces.factories import booting, bring_online, config_for, later, launching, queued
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, Phase, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import BackendState, Observation
from workspaces.services.launching.launch import enter_booting
from workspaces.services.launching.progress import record_progress
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db
NO_OVERRIDE = Policy()
ONE_MINUTE = Policy(override_seconds=60)


def swept(workspace, *, minutes, policy=NO_OVERRIDE):
    sweep_stuck(now=later(workspace, minutes=minutes), policy=policy)
    workspace.refresh_from_db()
    return workspace


def failure_event(workspace):
    return Event.objects.get(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_PROVISION_FAILED)


def test_sweep_leaves_a_booting_hermes_at_11_minutes():
    assert swept(booting(runtime="hermes", config=config_for("hermes")), minutes=11).status == "provisioning"


def test_sweep_fails_a_booting_hermes_at_31_minutes():
    late = swept(booting(config=config_for("hermes"), runtime=""), minutes=31)
    assert late.status == WorkspaceStatus.FAILED
    payload = failure_event(late).payload
    assert payload["runtime"] == "hermes"
    assert payload["source"] == "provision_timeout_sweep"
    assert payload["timeout_secs"] == 1800
    assert payload["code"] == "timed_out"
    assert payload["launch_id"] == str(late.launch_id)
    assert payload["version"] == late.version
    assert "30 minutes" in payload["error"]


def test_sweep_fails_any_other_runtime_at_11_minutes():
    late = swept(booting(config=config_for("claude-code"), runtime=""), minutes=11)
    assert late.status == WorkspaceStatus.FAILED
    assert failure_event(late).payload["runtime"] == "claude-code"
    assert failure_event(late).payload["timeout_secs"] == 600


def test_sweep_leaves_any_other_runtime_at_9_minutes():
    assert swept(booting(), minutes=9).status == WorkspaceStatus.PROVISIONING


@pytest.mark.parametrize("runtime", ["hermes", "claude-code"])
def test_the_override_fails_any_runtime_in_flight_at_61_seconds(runtime):
    in_flight = booting(config=config_for(runtime), runtime="")
    assert swept(in_flight, minutes=59 / 60, policy=ONE_MINUTE).status == WorkspaceStatus.PROVISIONING
    assert swept(in_flight, minutes=61 / 60, policy=ONE_MINUTE).status == WorkspaceStatus.FAILED
    assert failure_event(in_flight).payload["timeout_secs"] == 60


def test_a_longer_override_saves_a_launch_in_flight():
    assert swept(booting(), minutes=11, policy=Policy(override_seconds=3600)).status == WorkspaceStatus.PROVISIONING


def test_the_override_counts_from_each_phase():
    assert swept(queued(), minutes=61 / 60, policy=ONE_MINUTE).failure_code == FailureCode.NEVER_LAUNCHED


def test_a_rename_at_9_minutes_does_not_move_the_deadline_at_10():
    late = booting()
    late.name = "renamed"
    late.save(update_fields=["name"])
    assert swept(late, minutes=11).status == WorkspaceStatus.FAILED


def test_the_workspaces_own_limit_comes_before_its_templates_and_its_runtimes():
    template = config_for("hermes", "runtime_config: {provision_timeout_seconds: 300}\n")
    late = booting(config=template, runtime="", provision_timeout_seconds=120)
    assert swept(late, minutes=1.9).status == WorkspaceStatus.PROVISIONING
    assert swept(late, minutes=2.1).status == WorkspaceStatus.FAILED


def test_the_templates_limit_comes_before_its_runtimes():
    template = config_for("hermes", "runtime_config: {provision_timeout_seconds: 2700}\n")
    late = booting(config=template, runtime="")
    assert swept(late, minutes=44.9).status == WorkspaceStatus.PROVISIONING
    assert swept(late, minutes=45.1).status == WorkspaceStatus.FAILED


@pytest.mark.parametrize(("more", "minutes"), [("", 30), (", provision_timeout_override: true", 12)])
def test_a_templates_limit_below_its_runtimes_fails_a_boot_only_if_it_says_so(more, minutes):
    template = config_for("hermes", f"runtime_config: {{provision_timeout_seconds: 720{more}}}\n")
    late = booting(config=template, runtime="")
    assert swept(late, minutes=minutes - 0.1).status == WorkspaceStatus.PROVISIONING
    assert swept(late, minutes=minutes + 0.1).status == WorkspaceStatus.FAILED


def test_a_launch_in_a_stalled_queue_fails_without_claiming_a_start():
    late = swept(queued(), minutes=10.1)
    assert late.failure_code == FailureCode.NEVER_LAUNCHED
    assert "nothing was started" in late.failure_message


def test_a_launch_whose_worker_died_fails_without_claiming_a_start():
    late = swept(launching(), minutes=2.1)
    assert late.failure_code == FailureCode.TIMED_OUT
    assert "whether anything started is not known" in late.failure_message


def test_time_in_the_queue_does_not_count_for_the_boot():
    waited = queued()
    begun = later(waited, minutes=9)
    Workspace.objects.filter(pk=waited.pk).update(phase=Phase.LAUNCHING)
    running = Observation(state=BackendState.RUNNING)
    enter_booting(workspace_id=waited.pk, launch_id=waited.launch_id, observation=running, now=begun)
    waited.refresh_from_db()
    assert swept(waited, minutes=9.9).status == WorkspaceStatus.PROVISIONING
    assert swept(waited, minutes=10.1).status == WorkspaceStatus.FAILED


def test_a_new_step_moves_the_stall_deadline_and_a_repeated_one_does_not():
    stalling = booting(config=config_for("echo", "runtime_config: {stall_timeout_seconds: 60}\n"), runtime="")

    def report(step, minutes):
        at = later(stalling, minutes=minutes)
        record_progress(workspace_id=stalling.pk, launch_id=stalling.launch_id, step=step, now=at)

    report("install", 0.9)
    report("install", 1.5)
    assert swept(stalling, minutes=1.8).status == WorkspaceStatus.PROVISIONING
    assert swept(stalling, minutes=2).failure_code == FailureCode.STALLED
    for said in ("1 minute,", "“install”", "runtime_config.stall_timeout_seconds"):
        assert said in stalling.failure_message
    assert failure_event(stalling).payload["timeout_secs"] == 60


def test_steps_never_move_the_hard_limit():
    busy = booting(config=config_for("echo", "runtime_config: {stall_timeout_seconds: 60}\n"), runtime="")
    for minute in range(1, 20):
        at = later(busy, minutes=minute / 2)
        record_progress(workspace_id=busy.pk, launch_id=busy.launch_id, step=f"step {minute}", now=at)
    assert swept(busy, minutes=10.1).failure_code == FailureCode.TIMED_OUT


def test_sweep_leaves_a_workspace_that_came_online():
    late = booting()
    end = later(late, minutes=31)
    bring_online(late)
    assert sweep_stuck(now=end, policy=NO_OVERRIDE).failed == []


def test_a_deadline_failure_keeps_its_process_until_the_grace_period_is_over():
    late = swept(booting(), minutes=11)
    launch = Launch.objects.get(pk=late.launch_id)
    assert launch.torn_down_at is None
    assert launch.teardown_at == late.failure_at + timedelta(minutes=10)


def test_one_sweep_fails_more_than_a_batch(monkeypatch):
    monkeypatch.setattr("workspaces.services.watching.sweep.BATCH", 3)
    late = [queued() for _ in range(7)]
    report = sweep_stuck(now=later(late[-1], minutes=11), policy=NO_OVERRIDE)
    assert len(report.failed) == 7
    assert Event.objects.filter(event_type=EventType.WORKSPACE_PROVISION_FAILED).count() == 7
