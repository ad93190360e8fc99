"""What moves the deadline of a launch in flight and what does not, and that all readers show the same one."""

from datetime import datetime, timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse

from events.models import Event
from events.names import EventType
from postgres import clock
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, config_for, later, queued
from workspaces.deadlines.policy import (
    LAUNCHING_SECONDS,
    Policy,
    deadline_in_force,
    effective_deadline,
    launching_limit,
    phase_limit,
    watcher_deadline,
)
from workspaces.lifecycle.transitions import FailureCode, Phase
from workspaces.models import ApiScope, Workspace
from workspaces.overview import overview
from workspaces.services.launching.launch import launch
from workspaces.services.launching.progress import record_progress
from workspaces.services.launching.restart import restart
from workspaces.services.watching.sweep import next_deadlines, sweep_stuck

pytestmark = pytest.mark.django_db

CLOCKS = ("deadline_at", "phase_entered_at", "progress_at", "provisioning_started_at")
SHORTER = "runtime_config: {provision_timeout_seconds: 700"
STALLING = "runtime_config: {stall_timeout_seconds: 120}\n"
# Each field that an operator may change while a launch is in flight, as the admin's form takes it.
FORM = {"name": "boots", "role": "", "tier": "2", "labels": "", "restart_policy": "on-failure"}
FORM |= {"provision_timeout_seconds": "300", "hibernation_idle_minutes": ""}
EDITS = [
    {"name": "renamed"},
    {"role": "reviewer"},
    {"tier": "3"},
    {"labels": "team=blue"},
    {"hibernation_idle_minutes": "5"},
    {"restart_policy": "never"},
    {"provision_timeout_seconds": "30"},
    {"provision_timeout_seconds": "9000"},
]


def clocks(workspace):
    return Workspace.objects.filter(pk=workspace.pk).values(*CLOCKS).get()


def step(workspace, name, *, minutes):
    at = later(workspace, minutes=minutes)
    record_progress(workspace_id=workspace.pk, launch_id=workspace.launch_id, step=name, now=at)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: ",".join(f"{name}={value}" for name, value in edit.items()))
def test_no_edit_moves_a_deadline_even_at_the_next_boot_step(edit, admin_client):
    workspace = booting(provision_timeout_seconds=300)
    before = clocks(workspace), deadline_in_force(workspace, policy=Policy())
    page = reverse("admin:workspaces_workspace_change", args=[workspace.pk])
    assert admin_client.post(page, {**FORM, **edit}).status_code == 302
    assert clocks(workspace) == before[0]
    step(workspace, "install", minutes=1)
    row = Workspace.objects.get(pk=workspace.pk)
    moved = {**before[0], "progress_at": later(workspace, minutes=1)}
    assert (clocks(workspace), deadline_in_force(row, policy=Policy())) == (moved, before[1])
    last_look = watcher_deadline(row, policy=Policy())
    assert last_look == watcher_deadline(workspace, policy=Policy())


@pytest.mark.parametrize("edited", [30, 9_000, None])
def test_a_limit_changed_during_a_boot_counts_from_the_next_launch(edited):
    workspace = booting(config=config_for("echo", STALLING), runtime="", provision_timeout_seconds=300)
    Workspace.objects.filter(pk=workspace.pk).update(provision_timeout_seconds=edited)
    for minute in range(1, 5):
        step(workspace, f"step {minute}", minutes=minute)
    assert clocks(workspace)["deadline_at"] == later(workspace, minutes=5)
    sweep_stuck(now=later(workspace, minutes=5), policy=Policy())
    row = Workspace.objects.get(pk=workspace.pk)
    # The limit at the time of the failure, not the current one.
    assert (row.failure_code, row.failure_known["limit_seconds"]) == (FailureCode.TIMED_OUT, 300)
    assert "within 5 minutes" in row.failure_message


def test_a_new_step_never_moves_the_deadline_back_after_an_edit():
    workspace = booting(config=config_for("echo", STALLING), runtime="")
    step(workspace, "one", minutes=1)
    before = clocks(workspace)["deadline_at"]
    Workspace.objects.filter(pk=workspace.pk).update(provision_timeout_seconds=10)
    step(workspace, "two", minutes=1.5)
    assert clocks(workspace)["deadline_at"] > before


@pytest.mark.parametrize("edited", [30, 9_000, None])
def test_the_next_launch_has_the_changed_limit(edited):
    workspace = booting(provision_timeout_seconds=300)
    Workspace.objects.filter(pk=workspace.pk).update(provision_timeout_seconds=edited)
    again = restart(workspace_id=workspace.pk, now=later(workspace, minutes=1)).workspace
    assert phase_limit(again, phase=Phase.BOOTING, policy=Policy()).seconds == (edited or 600)


def test_a_launch_begun_by_older_code_keeps_the_stored_limit():
    workspace = booting(provision_timeout_seconds=300)
    Workspace.objects.filter(pk=workspace.pk).update(launch_timeout_seconds=None)
    row = Workspace.objects.get(pk=workspace.pk)
    assert phase_limit(row, phase=Phase.BOOTING, policy=Policy()).seconds == 300


# --- One clock for all ---------------------------------------------------------------------------


@pytest.mark.parametrize("override", [None, 90])
@pytest.mark.parametrize(
    ("more", "own"),
    [("", None), (f"{SHORTER}, provision_timeout_override: true}}\n", None), (f"{SHORTER}}}\n", None), ("", 800)],
)
def test_api_admin_and_command_show_the_same_deadline(settings, more, own, override, capsys):
    settings.PROVISION_TIMEOUT_SECONDS = override
    policy = Policy(override_seconds=override)
    workspace = booting(config=config_for("hermes", more), runtime="", provision_timeout_seconds=own)
    seconds = override or own or (700 if "override" in more else 1800)
    at = workspace.phase_entered_at + timedelta(seconds=seconds)
    moment = timedelta(milliseconds=1)

    # In turn: policy, API, countdown in the admin, command, the sweep's list, the sweep, and the watcher before it.
    assert effective_deadline(workspace, policy=policy) == at
    item = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}").json()
    assert datetime.fromisoformat(item["deadline_at"]) == at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert item["provision_timeout_ms"] == seconds * 1000
    assert overview(workspace, now=workspace.phase_entered_at, policy=policy).seconds_left == seconds
    call_command("deadlines", str(workspace.pk))
    assert f"{at:%H:%M:%S}" in capsys.readouterr().out
    assert [row.pk for row in next_deadlines(now=at - moment, policy=policy)] == [workspace.pk]
    last_look = watcher_deadline(workspace, policy=policy)
    assert last_look is not None
    assert last_look < at
    assert sweep_stuck(now=at - moment, policy=policy).failed == []
    assert [row.pk for row in sweep_stuck(now=at, policy=policy).failed] == [workspace.pk]


@pytest.mark.parametrize("override", [None, 90])
def test_the_event_and_the_answer_to_a_boot_step_have_the_deadline_in_force(settings, override):
    settings.PROVISION_TIMEOUT_SECONDS = override
    waiting = queued()
    told = Event.objects.get(workspace_id=waiting.pk, event_type=EventType.WORKSPACE_PROVISIONING)
    policy = Policy(override_seconds=override)
    assert datetime.fromisoformat(told.payload["deadline_at"]) == effective_deadline(waiting, policy=policy)
    workspace = booting()
    answer = AgentCaller(workspace).progress().json()
    expected = effective_deadline(Workspace.objects.get(pk=workspace.pk), policy=policy)
    assert expected is not None
    assert abs(datetime.fromisoformat(answer["deadline_at"]) - expected) < timedelta(milliseconds=1)


@pytest.mark.parametrize("override", [None, 40, 8])
def test_the_backends_start_gets_less_time_than_the_phase(fake, settings, override):
    settings.PROVISION_TIMEOUT_SECONDS = override
    workspace = queued()
    launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=clock.database_now)
    [spec] = fake.specs.values()
    limit = launching_limit(policy=Policy(override_seconds=override))
    assert limit.seconds == (override or LAUNCHING_SECONDS)
    assert 0 < spec.start_timeout_seconds == limit.inner_seconds < limit.seconds


def test_a_deadline_tells_whether_it_is_the_stall_limit():
    workspace = booting(config=config_for("echo", STALLING), runtime="")
    deadline = deadline_in_force(workspace, policy=Policy())
    assert deadline is not None
    assert deadline.is_stall
    for minute in range(1, 10):
        step(workspace, f"step {minute}", minutes=minute)
    deadline = deadline_in_force(Workspace.objects.get(pk=workspace.pk), policy=Policy())
    assert deadline is not None
    assert not deadline.is_stall
