"""Every pair of actions that can race: how they are prepared, and the legal outcomes, each of which must occur.

An outcome names the transitions in their order and who made them (see interleaving.Result). An action that is not in
the outcome lost: it was refused, or had nothing to do.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from postgres.clock import database_now
from registry import heartbeat
from registry import services as registry
from registry.schemas import HeartbeatIn
from tests.workspaces.factories import booting, bring_online, config_for, failed, hibernated, online, queued, running_on
from tests.workspaces.fake_backend import FakeProvisioner
from tests.workspaces.races.interleaving import Action, Result
from workspaces.access.errors import RequestRefused
from workspaces.access.tokens import mint_agent_token
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import Heartbeat, Launch, Workspace
from workspaces.services.core.trees import reparent
from workspaces.services.launching.fail import cancel
from workspaces.services.launching.launch import launch
from workspaces.services.launching.progress import record_progress
from workspaces.services.launching.restart import restart
from workspaces.services.launching.resume import resume
from workspaces.services.launching.wake import wake
from workspaces.services.stopping.hibernate import hibernate, undo_overdue
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.shutdown import pause_all_for_shutdown
from workspaces.services.stopping.teardown import tear_down
from workspaces.services.watching.crash_recovery import restart_crashed
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.sweep import sweep_stuck
from workspaces.services.watching.watch import watch_online

S = WorkspaceStatus
LIMIT = timedelta(seconds=180)


@dataclass(frozen=True, kw_only=True)
class Race:
    """The two actions by name, and a check that runs when both are done."""

    actions: Mapping[str, Action]
    then: Callable[[Result], None] = field(default=lambda result: None)


@dataclass(frozen=True, kw_only=True)
class RaceCase:
    """The legal outcomes of a race, and a function that prepares the next run of it."""

    name: str
    outcomes: frozenset[str]
    prepare: Callable[[FakeProvisioner], Race]
    # How many points of each action are ordered in every way; what comes after them runs freely.
    points: tuple[int, int] = (3, 3)


RACE_CASES = []
NO_MOVE = ""


def race_case(*outcomes, points=(3, 3)):
    def add(prepare):
        name = prepare.__name__.replace("_", " ")
        RACE_CASES.append(RaceCase(name=name, outcomes=frozenset(outcomes), prepare=prepare, points=points))

    return add


# --- A launch against deadlines, agents and operators ---


@race_case("register online", "sweep failed, register online")
def register_and_sweep(_):
    late = _late()
    return Race(actions={"register": lambda: bring_online(late), "sweep": _sweep()})


@race_case("beat online", "sweep failed, beat online", points=(4, 3))
def heartbeat_and_sweep(_):
    late = _late()
    return Race(actions={"beat": _beat(late), "sweep": _sweep()})


@race_case("sweep failed", "other sweep failed")
def sweep_and_sweep(_):
    _late()
    return Race(actions={"sweep": _sweep(), "other sweep": _sweep()})


@race_case(NO_MOVE, "sweep failed")
def progress_and_sweep(_):
    began = database_now() - timedelta(seconds=61)
    stalling = booting(now=began, config=config_for("echo", "runtime_config:\n  stall_timeout_seconds: 60\n"))
    at = began + timedelta(seconds=59)
    about = {"workspace_id": stalling.pk, "launch_id": stalling.launch_id}
    return Race(actions={"progress": lambda: record_progress(**about, step="next", now=at), "sweep": _sweep()})


@race_case("restart provisioning", "register online, restart provisioning")
def register_and_restart(_):
    waiting = booting()
    return Race(actions={"register": lambda: bring_online(waiting), "restart": _restart(waiting)})


@race_case("restart provisioning", "sweep failed, restart provisioning")
def sweep_and_restart(_):
    late = _late()
    return Race(actions={"sweep": _sweep(), "restart": _restart(late)})


@race_case("restart provisioning, other restart provisioning", "other restart provisioning, restart provisioning")
def restart_and_restart(_):
    workspace = online()
    return Race(actions={"restart": _restart(workspace), "other restart": _restart(workspace)})


@race_case("watcher failed", "register online")
def bootstrap_failed_and_register(_):
    waiting = booting()
    return Race(actions={"watcher": _bootstrap_failed(waiting), "register": lambda: bring_online(waiting)})


@race_case("restart provisioning", "watcher failed, restart provisioning")
def bootstrap_failed_and_restart(_):
    waiting = booting()
    return Race(actions={"watcher": _bootstrap_failed(waiting), "restart": _restart(waiting)})


@race_case("cancel failed", "register online")
def cancel_and_register(_):
    waiting = booting()
    cancelling = lambda: cancel(workspace_id=waiting.pk, by="somebody", now=database_now())  # noqa: E731
    return Race(actions={"cancel": cancelling, "register": lambda: bring_online(waiting)})


@race_case("remove removed", "register online, remove removed")
def remove_and_register(_):
    waiting = booting()
    return Race(actions={"remove": _remove(waiting), "register": lambda: bring_online(waiting)})


@race_case("pause paused", "beat online, pause paused", points=(4, 3))
def heartbeat_and_pause(_):
    waiting = booting()
    return Race(actions={"beat": _beat(waiting), "pause": _pause(waiting)})


@race_case("shutdown paused", "register online, shutdown paused")
def register_and_shutdown(_):
    waiting = booting()
    # A shutdown pauses everything that runs, so pause what earlier runs left.
    for row in Workspace.objects.active().exclude(pk=waiting.pk):
        pause(workspace_id=row.pk, now=database_now())
    return Race(
        actions={
            "register": lambda: bring_online(waiting),
            "shutdown": lambda: pause_all_for_shutdown(now=database_now()),
        }
    )


@race_case(NO_MOVE)
def launch_and_launch(backend):
    waiting = queued()
    about = {"workspace_id": waiting.pk, "launch_id": waiting.launch_id}

    def then(_):
        assert [call for call, key in backend.calls if key.launch_id == waiting.launch_id].count("start") == 1

    worker = lambda: launch(**about, clock=database_now)  # noqa: E731
    return Race(actions={"worker": worker, "other worker": worker}, then=then)


# --- A scheduled stop against users of the process ---


@race_case(NO_MOVE, "register online")
def late_arrival_and_teardown(backend):
    late = failed(code=FailureCode.TIMED_OUT)
    key = running_on(backend, late)
    end = Launch.objects.get(pk=late.launch_id).teardown_at
    # The agent read the clock before the grace period ended, but may get the lock after the stop was sent.
    registering = lambda: bring_online(late, now=end - timedelta(milliseconds=1))  # noqa: E731

    def then(result):
        assert (key in backend.running_launches()) == (result.outcome != NO_MOVE), (
            "online without a process, or stopped although online"
        )

    return Race(actions={"register": registering, "stop": _stop(late, at=end)}, then=then)


@race_case(NO_MOVE, "hibernate hibernating", "hibernate hibernating, beat online", points=(3, 1))
def hibernate_and_new_task(backend):
    idle = online()
    key = running_on(backend, idle)

    def then(_):
        tear_down(launch_id=idle.launch_id, now=database_now())
        assert (_status(idle), ("stop", key) in backend.calls) == (S.ONLINE, False)

    claim = lambda: hibernate(workspace_id=idle.pk, forced=False, now=database_now())  # noqa: E731
    return Race(actions={"hibernate": claim, "beat": _beat(idle, active_tasks=1)}, then=then)


@race_case("beat online", "stop online", "stop hibernated", points=(4, 3))
def stop_of_a_hibernating_workspace_and_new_task(backend):
    idle = online()
    key = running_on(backend, idle)
    claimed = hibernate(workspace_id=idle.pk, forced=False, now=database_now())

    def then(_):
        assert (_status(idle) == S.ONLINE) == (key in backend.running_launches())

    return Race(actions={"beat": _beat(claimed, active_tasks=1), "stop": _stop(claimed)}, then=then)


@race_case("settle offline", "stop hibernated")
def stop_of_a_hibernating_workspace_and_its_deadline(backend):
    idle = online()
    running_on(backend, idle)
    claimed = hibernate(workspace_id=idle.pk, forced=False, now=database_now())
    assert claimed.deadline_at is not None
    end = claimed.deadline_at
    return Race(actions={"settle": lambda: undo_overdue(now=end, limit=LIMIT), "stop": _stop(claimed)})


@race_case("pause paused", "hibernate hibernating, pause paused")
def hibernate_and_pause(_):
    idle = online()
    claim = lambda: hibernate(workspace_id=idle.pk, forced=False, now=database_now())  # noqa: E731
    return Race(actions={"hibernate": claim, "pause": _pause(idle)})


@race_case(NO_MOVE, "silence offline", "silence offline, beat online", points=(1, 3))
def heartbeat_and_silence(_):
    silent = online()
    Heartbeat.objects.filter(pk=silent.pk).update(last_heartbeat_at=database_now() - 2 * LIMIT)
    return Race(
        actions={"beat": _beat(silent), "silence": lambda: mark_silent_offline(now=database_now(), limit=LIMIT)},
    )


@race_case("restart provisioning", "beat degraded, restart provisioning", points=(4, 3))
def degrading_heartbeat_and_restart(_):
    sick = online()
    return Race(actions={"beat": _beat(sick, error_rate=0.9), "restart": _restart(sick)})


@race_case("restart provisioning", "watch offline, restart provisioning")
def watcher_and_restart(backend):
    dead = online()
    backend.simulate_exit(running_on(backend, dead), exit_code=1)
    return Race(actions={"watch": lambda: watch_online(clock=database_now), "restart": _restart(dead)})


@race_case("restart provisioning", "policy provisioning, restart provisioning")
def automatic_restart_and_restart(backend):
    dead = online()
    backend.simulate_exit(running_on(backend, dead), exit_code=1)
    watch_online(clock=database_now)
    due = database_now() + timedelta(minutes=1)
    return Race(actions={"policy": lambda: restart_crashed(now=due), "restart": _restart(dead)})


# --- Trees ---


@race_case("pause paused", "child: resume provisioning, pause paused; parent: pause paused")
def pause_of_a_parent_and_resume_of_its_child(_):
    parent, child = _family()
    pause(workspace_id=child.pk, now=database_now())
    return Race(actions={"pause": _pause(parent), "resume": _resume(child)})


@race_case("pause paused", "child: create provisioning, pause paused; parent: pause paused")
def pause_of_a_parent_and_creation_of_a_child(_):
    parent = online(name="parent")
    return Race(actions={"pause": _pause(parent), "create": lambda: queued(name="child", parent_id=parent.pk)})


@race_case(
    "child: pause paused; parent: pause paused",
    "child: restart provisioning, pause paused; parent: pause paused",
)
def pause_of_a_parent_and_restart_of_its_child(_):
    parent, child = _family()
    return Race(actions={"pause": _pause(parent), "restart": _restart(child)})


@race_case("child: pause paused; parent: pause paused", "child: wake provisioning, pause paused; parent: pause paused")
def pause_of_a_parent_and_wake_of_its_child(_):
    parent = online(name="parent")
    child = hibernated(name="child", parent_id=parent.pk)
    return Race(actions={"pause": _pause(parent), "wake": _wake(child)})


@race_case("pause paused", "child: pause paused; parent: pause paused")
def pause_of_a_parent_and_move_of_a_child_below_it(_):
    parent, child = online(name="parent"), online(name="child")
    move = lambda: reparent(workspace_id=child.pk, parent_id=parent.pk)  # noqa: E731

    def then(result):
        assert isinstance(result.results["put"], Workspace) == ("child" in result.outcome)

    return Race(actions={"pause": _pause(parent), "put": move}, then=then)


@race_case(
    "remove removed",
    "child: create provisioning, remove removed; parent: remove removed",
)
def removal_of_a_parent_and_creation_of_a_child(_):
    parent = online(name="parent")
    return Race(actions={"remove": _remove(parent), "create": lambda: queued(name="child", parent_id=parent.pk)})


@race_case("remove removed", "wake provisioning, remove removed")
def wake_and_remove(_):
    asleep = hibernated()
    return Race(actions={"wake": _wake(asleep), "remove": _remove(asleep)})


@race_case("wake provisioning", "other wake provisioning")
def wake_and_wake(_):
    asleep = hibernated()
    return Race(actions={"wake": _wake(asleep), "other wake": _wake(asleep)})


@race_case("resume provisioning", "other resume provisioning")
def resume_and_resume(_):
    paused = online()
    pause(workspace_id=paused.pk, now=database_now())
    return Race(actions={"resume": _resume(paused), "other resume": _resume(paused)})


# --- Actions ---


def _family():
    parent = online(name="parent")
    return parent, online(name="child", parent_id=parent.pk)


def _status(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def _late():
    """A workspace whose boot deadline passed a minute ago. Workspaces of earlier runs are not late."""
    return booting(now=database_now() - timedelta(minutes=11))


def _sweep():
    return lambda: sweep_stuck(now=database_now(), policy=Policy())


def _beat(workspace, **fields):
    """A heartbeat, which is refused if the launch has ended."""
    token = mint_agent_token(workspace)

    def beat():
        with suppress(RequestRefused):
            heartbeat.store(token, HeartbeatIn(workspace_id=workspace.pk, **fields))

    return beat


def _bootstrap_failed(workspace):
    about = {"workspace_id": workspace.pk, "launch_id": workspace.launch_id}
    return lambda: registry.fail_by_watcher(**about, error="It broke.", log_tail="", now=database_now())


def _stop(workspace, *, at=None):
    return lambda: tear_down(launch_id=workspace.launch_id, now=at or database_now())


def _restart(workspace):
    return lambda: restart(workspace_id=workspace.pk, now=database_now())


def _pause(workspace):
    return lambda: pause(workspace_id=workspace.pk, now=database_now())


def _resume(workspace):
    return lambda: resume(workspace_id=workspace.pk, now=database_now())


def _wake(workspace):
    return lambda: wake(workspace_id=workspace.pk, now=database_now())


def _remove(workspace):
    return lambda: remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
