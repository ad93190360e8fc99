"""Simulated agents over real HTTP, with the real registry, watcher and sweep."""

import time

import pytest

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.waiting import wait_until
from tests.workspaces.factories import later
from tests.workspaces.provisioners.simulated.conftest import playing
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, FailureSource
from workspaces.lifecycle.transitions import WorkspaceStatus as S
from workspaces.models import AgentToken, BackendKind, Heartbeat, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey
from workspaces.provisioners.simulated.simulator import SimulatorAlreadyRunning, hold_simulator_lock
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.launching.launch import launch
from workspaces.services.launching.restart import restart
from workspaces.services.watching.sweep import sweep_stuck
from workspaces.services.watching.watch import watch_boots, watch_online

pytestmark = [pytest.mark.django_db(transaction=True)]

BOOT = "runtime_config: {boot: [{step: fetch, run: x}, {step: install, run: x}]}"


def launched(behaviour, *, seconds=0.2, more=""):
    simulation = f"simulation: {{behaviour: {behaviour}, boot_seconds: {seconds}{more}}}"
    config = f"name: {behaviour}\nruntime: echo\n{BOOT}\n{simulation}"
    workspace = create(CreateRequest(config=config), now=database_now()).workspace
    relaunched(workspace)
    return workspace


def relaunched(workspace):
    launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    assert fresh(workspace).phase == "booting", fresh(workspace).failure_message


def fresh(workspace):
    return Workspace.objects.get(pk=workspace.pk)


def is_(workspace, status):
    return fresh(workspace).status == status


def moves(workspace):
    rows = Event.objects.filter(workspace_id=workspace.pk, is_move=True).order_by("version")
    return list(rows.values_list("event_type", flat=True))


def key_of(workspace):
    return LaunchKey(workspace_id=workspace.pk, launch_id=fresh(workspace).launch_id)


ONLINE_ONCE = [EventType.WORKSPACE_PROVISIONING, EventType.WORKSPACE_ONLINE]


@pytest.mark.parametrize("behaviour", ["healthy", "slow", "duplicate-register", "lost-ack", "clock-skew"])
def test_a_healthy_agent_reports_its_steps_and_is_online_once(simulated, behaviour):
    workspace = launched(behaviour)
    with playing(simulated):
        wait_until(lambda: is_(workspace, S.ONLINE))
    row = fresh(workspace)
    assert moves(workspace) == ONLINE_ONCE
    assert (row.backend, row.progress_step) == (BackendKind.SIMULATED, "install")
    assert row.agent_card["note"] == f"Simulated: {behaviour}."
    # The address is the backend's own.
    assert row.url == simulated.inspect(key_of(workspace)).url


def test_an_agent_sends_heartbeats(simulated):
    workspace = launched("clock-skew", more=", seed: 3")
    with playing(simulated):
        wait_until(lambda: Heartbeat.objects.filter(pk=workspace.pk, uptime_seconds__gt=0).exists())
    # Its log is an hour ahead.
    assert Heartbeat.objects.get(pk=workspace.pk).uptime_seconds >= 3600
    assert not sweep_stuck(now=database_now(), policy=Policy()).failed


def test_an_agent_that_never_registers_fails_by_time_alone(simulated):
    workspace = launched("never")
    with playing(simulated):
        wait_until(lambda: fresh(workspace).progress_step)
    assert watch_boots(clock=database_now) == []
    sweep_stuck(now=later(fresh(workspace), minutes=10), policy=Policy())
    row = fresh(workspace)
    assert (row.status, row.failure_code, row.failure_owner) == (S.FAILED, FailureCode.TIMED_OUT, "unknown")
    assert row.failure_known["last_step"] in {"fetch", "install"}


@pytest.mark.parametrize(
    ("seed", "source", "exit_code"),
    [(1, FailureSource.AGENT, 1), (6, FailureSource.BOOTSTRAP_WATCHER, -9)],
)
def test_a_crash_is_reported_by_the_agent_or_seen_by_the_watcher(simulated, seed, source, exit_code):
    workspace = launched("crash", more=f", seed: {seed}")
    with playing(simulated):
        wait_until(lambda: simulated.inspect(key_of(workspace)).state is BackendState.EXITED)
    watch_boots(clock=database_now)
    row = fresh(workspace)
    assert (row.status, row.failure_code, row.failure_source) == (S.FAILED, FailureCode.CRASHED, source)
    assert simulated.inspect(key_of(workspace)).exit_code == exit_code
    assert "Boot step" in row.failure_log_tail


def test_a_late_crash_comes_after_online_and_is_seen(simulated):
    workspace = launched("crash-late", seconds=0)
    with playing(simulated):
        wait_until(lambda: simulated.inspect(key_of(workspace)).state is BackendState.EXITED)
        watch_online(clock=database_now)
        row = fresh(workspace)
        assert (row.status, row.failure_code) == (S.OFFLINE, FailureCode.CRASHED)
        assert row.failure_known["exit_code"] in {1, -9}
    assert moves(workspace) == [*ONLINE_ONCE, EventType.WORKSPACE_OFFLINE]


def test_a_silent_agents_process_lives_on(simulated):
    workspace = launched("silent", seconds=0)
    with playing(simulated):
        wait_until(lambda: is_(workspace, S.ONLINE))
        # Nothing comes for the time of ten heartbeats.
        wait_until(lambda: (database_now() - last_heartbeat_of(workspace)).total_seconds() > 1)
    assert is_(workspace, S.ONLINE)
    assert simulated.inspect(key_of(workspace)).state is BackendState.RUNNING


def test_a_flaky_agent_degrades_and_recovers(simulated):
    workspace = launched("flaky", seconds=0, more=", seed: 1")
    with playing(simulated):
        wait_until(lambda: EventType.WORKSPACE_DEGRADED in moves(workspace))
        wait_until(lambda: is_(workspace, S.ONLINE))


def test_an_agent_that_misbehaves_once_is_healthy_after_its_restart(simulated):
    workspace = launched("crash", more=", seed: 1, times: 1")
    with playing(simulated):
        wait_until(lambda: is_(workspace, S.FAILED))
        again = restart(workspace_id=workspace.pk, now=database_now()).workspace
        relaunched(again)
        wait_until(lambda: is_(workspace, S.ONLINE))


def test_a_superseded_agent_exits(simulated):
    workspace = launched("healthy", seconds=0)
    key = key_of(workspace)
    with playing(simulated):
        wait_until(lambda: is_(workspace, S.ONLINE))
        restart(workspace_id=workspace.pk, now=database_now())
        wait_until(lambda: simulated.inspect(key).state is BackendState.EXITED)
    assert simulated.inspect(key).exit_code == 0
    assert "superseded" in simulated.inspect(key).log_tail


def test_another_simulator_continues_where_one_stopped(simulated):
    workspace = launched("healthy", seconds=600)
    with playing(simulated):
        wait_until(lambda: simulated.running_launch(key_of(workspace)).acts_done == 1)
    assert (fresh(workspace).progress_step, fresh(workspace).status) == ("fetch", S.PROVISIONING)
    # The other acts are due at once.
    with simulated._changing():
        simulated._change(key_of(workspace), started_at=time.time() - 600)
    with playing(simulated):
        wait_until(lambda: is_(workspace, S.ONLINE))
    assert simulated.inspect(key_of(workspace)).log_tail.count("'fetch' begins") == 1


def test_a_stopped_agent_sends_nothing_more(simulated):
    workspace = launched("healthy", seconds=0)
    with playing(simulated):
        wait_until(lambda: is_(workspace, S.ONLINE))
        simulated.stop(key_of(workspace), timeout_seconds=1)
        wait_until(lambda: not simulated.running_launches())
        # Calls that were under way have arrived by now. Nothing more comes for the time of five heartbeats.
        wait_until(lambda: (database_now() - last_heartbeat_of(workspace)).total_seconds() > 0.5)


def last_heartbeat_of(workspace):
    return Heartbeat.objects.get(pk=workspace.pk).last_heartbeat_at


def test_an_invalid_simulation_is_a_launch_error_that_names_the_key(simulated):
    workspace = create(CreateRequest(config="name: x\nsimulation: {behaviour: lazy}"), now=database_now()).workspace
    launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    row = fresh(workspace)
    assert (row.status, row.failure_code) == (S.FAILED, FailureCode.LAUNCH_ERROR)
    assert "simulation.behaviour" in row.failure_message


def test_the_simulated_backend_stores_no_secrets(simulated):
    secret = {"API_KEY": "sk-very-secret"}
    workspace = create(CreateRequest(config="name: x\nruntime: echo", secrets=secret), now=database_now()).workspace
    relaunched(workspace)
    played = simulated.running_launch(key_of(workspace))
    assert played is not None
    assert set(played.environment) == {"PLATFORM_URL", "HEARTBEAT_INTERVAL_SECONDS"}
    assert AgentToken.objects.filter(launch_id=workspace.launch_id).count() == 1


def test_a_second_simulator_refuses_to_start(tmp_path):
    with hold_simulator_lock(tmp_path), pytest.raises(SimulatorAlreadyRunning), hold_simulator_lock(tmp_path):
        pass
    with hold_simulator_lock(tmp_path):
        pass
