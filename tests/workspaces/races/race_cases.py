"""Every pair that can meet: who meets, and the stories that are legal, each of which has to be seen.

A story names the moves in their order by who made them (see racing.Met). Whoever is in no story lost, and was refused
or had nothing to do. Where both are, each is legal after the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from postgres.clock import database_now
from registry import services as registry
from registry.schemas import HeartbeatIn
from tests.workspaces.factories import arrive, booting, config_for, failed, hibernated, online, queued, running_on
from tests.workspaces.fake_provisioner import FakeProvisioner
from tests.workspaces.races.racing import Action, Met
from workspaces.access.authentication import find_agent
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
class Scene:
    """Who meets, by name, and what must be true once both are through."""

    actions: Mapping[str, Action]
    then: Callable[[Met], None] = field(default=lambda met: None)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A pair's legal stories, and how its next meeting is prepared."""

    name: str
    stories: frozenset[str]
    prepare: Callable[[FakeProvisioner], Scene]
    # How many points of each are put into every order; what comes after them runs free.
    points: tuple[int, int] = (3, 3)


PAIRS = []
_NOBODY = ""


def _pair(*stories, points=(3, 3)):
    def add(prepare):
        name = prepare.__name__.replace("_", " ")
        PAIRS.append(Pair(name=name, stories=frozenset(stories), prepare=prepare, points=points))

    return add


# --- A launch, and what time, agents and operators say of it ---


@_pair("register online", "sweep failed, register online")
def register_and_sweep(_):
    late = _late()
    return Scene(actions={"register": lambda: arrive(late), "sweep": _sweep()})


@_pair("beat online", "sweep failed, beat online", points=(4, 3))
def beat_and_sweep(_):
    late = _late()
    return Scene(actions={"beat": _beat(late), "sweep": _sweep()})


@_pair("sweep failed", "other sweep failed")
def sweep_and_sweep(_):
    _late()
    return Scene(actions={"sweep": _sweep(), "other sweep": _sweep()})


@_pair(_NOBODY, "sweep failed")
def progress_and_sweep(_):
    began = database_now() - timedelta(seconds=61)
    stalling = booting(now=began, config=config_for("echo", "runtime_config:\n  stall_timeout_seconds: 60\n"))
    at = began + timedelta(seconds=59)
    about = {"workspace_id": stalling.pk, "launch_id": stalling.launch_id}
    return Scene(actions={"progress": lambda: record_progress(**about, step="next", now=at), "sweep": _sweep()})


@_pair("restart provisioning", "register online, restart provisioning")
def register_and_restart(_):
    waiting = booting()
    return Scene(actions={"register": lambda: arrive(waiting), "restart": _restart(waiting)})


@_pair("restart provisioning", "sweep failed, restart provisioning")
def sweep_and_restart(_):
    late = _late()
    return Scene(actions={"sweep": _sweep(), "restart": _restart(late)})


@_pair("restart provisioning, other restart provisioning", "other restart provisioning, restart provisioning")
def restart_and_restart(_):
    workspace = online()
    return Scene(actions={"restart": _restart(workspace), "other restart": _restart(workspace)})


@_pair("watcher failed", "register online")
def bootstrap_failed_and_register(_):
    waiting = booting()
    return Scene(actions={"watcher": _bootstrap_failed(waiting), "register": lambda: arrive(waiting)})


@_pair("restart provisioning", "watcher failed, restart provisioning")
def bootstrap_failed_and_restart(_):
    waiting = booting()
    return Scene(actions={"watcher": _bootstrap_failed(waiting), "restart": _restart(waiting)})


@_pair("cancel failed", "register online")
def cancel_and_register(_):
    waiting = booting()
    cancelling = lambda: cancel(workspace_id=waiting.pk, by="somebody", now=database_now())  # noqa: E731
    return Scene(actions={"cancel": cancelling, "register": lambda: arrive(waiting)})


@_pair("remove removed", "register online, remove removed")
def remove_and_register(_):
    waiting = booting()
    return Scene(actions={"remove": _remove(waiting), "register": lambda: arrive(waiting)})


@_pair("pause paused", "beat online, pause paused", points=(4, 3))
def beat_and_pause(_):
    waiting = booting()
    return Scene(actions={"beat": _beat(waiting), "pause": _pause(waiting)})


@_pair("stop paused", "register online, stop paused")
def register_and_slipways_own_stop(_):
    waiting = booting()
    # Slipway's stop takes all that runs: what earlier meetings left is none of this one's.
    for row in Workspace.objects.active().exclude(pk=waiting.pk):
        pause(workspace_id=row.pk, now=database_now())
    return Scene(
        actions={"register": lambda: arrive(waiting), "stop": lambda: pause_all_for_shutdown(now=database_now())}
    )


@_pair(_NOBODY)
def launch_and_launch(backend):
    waiting = queued()
    about = {"workspace_id": waiting.pk, "launch_id": waiting.launch_id}

    def then(_):
        assert [call for call, key in backend.calls if key.launch_id == waiting.launch_id].count("start") == 1

    worker = lambda: launch(**about, clock=database_now)  # noqa: E731
    return Scene(actions={"worker": worker, "other worker": worker}, then=then)


# --- A process that is to stop, and who still needs it ---


@_pair(_NOBODY, "register online")
def late_arrival_and_teardown(backend):
    late = failed(code=FailureCode.TIMED_OUT)
    key = running_on(backend, late)
    end = Launch.objects.get(pk=late.launch_id).teardown_at
    # It looked at the clock before the grace was over, and may be heard after the stop was sent.
    registering = lambda: arrive(late, now=end - timedelta(milliseconds=1))  # noqa: E731

    def then(met):
        assert (key in backend.running_launches()) == (met.story != _NOBODY), (
            "online without a process, or stopped for nothing"
        )

    return Scene(actions={"register": registering, "stop": _stop(late, at=end)}, then=then)


@_pair(_NOBODY, "hibernate hibernating", points=(3, 1))
def hibernate_and_new_task(backend):
    idle = online()
    key = running_on(backend, idle)

    def then(_):
        tear_down(launch_id=idle.launch_id, now=database_now())
        assert (_status(idle), ("stop", key) in backend.calls) == (S.ONLINE, False)

    claim = lambda: hibernate(workspace_id=idle.pk, forced=False, now=database_now())  # noqa: E731
    return Scene(actions={"hibernate": claim, "beat": _beat(idle, active_tasks=1)}, then=then)


@_pair("beat online", "stop online", "stop hibernated", points=(4, 3))
def stop_of_a_hibernating_one_and_new_task(backend):
    idle = online()
    key = running_on(backend, idle)
    claimed = hibernate(workspace_id=idle.pk, forced=False, now=database_now())

    def then(_):
        assert (_status(idle) == S.ONLINE) == (key in backend.running_launches())

    return Scene(actions={"beat": _beat(claimed, active_tasks=1), "stop": _stop(claimed)}, then=then)


@_pair("settle offline", "stop hibernated")
def stop_of_a_hibernating_one_and_its_deadline(backend):
    idle = online()
    running_on(backend, idle)
    claimed = hibernate(workspace_id=idle.pk, forced=False, now=database_now())
    assert claimed.deadline_at is not None
    end = claimed.deadline_at
    return Scene(actions={"settle": lambda: undo_overdue(now=end, limit=LIMIT), "stop": _stop(claimed)})


@_pair("pause paused", "hibernate hibernating, pause paused")
def hibernate_and_pause(_):
    idle = online()
    claim = lambda: hibernate(workspace_id=idle.pk, forced=False, now=database_now())  # noqa: E731
    return Scene(actions={"hibernate": claim, "pause": _pause(idle)})


@_pair(_NOBODY, "silence offline", points=(1, 3))
def beat_and_silence(_):
    silent = online()
    Heartbeat.objects.filter(pk=silent.pk).update(last_heartbeat_at=database_now() - 2 * LIMIT)
    return Scene(
        actions={"beat": _beat(silent), "silence": lambda: mark_silent_offline(now=database_now(), limit=LIMIT)},
    )


@_pair("restart provisioning", "beat degraded, restart provisioning", points=(4, 3))
def sick_beat_and_restart(_):
    sick = online()
    return Scene(actions={"beat": _beat(sick, error_rate=0.9), "restart": _restart(sick)})


@_pair("restart provisioning", "watch offline, restart provisioning")
def death_and_restart(backend):
    dead = online()
    backend.simulate_exit(running_on(backend, dead), exit_code=1)
    return Scene(actions={"watch": lambda: watch_online(clock=database_now), "restart": _restart(dead)})


@_pair("restart provisioning", "policy provisioning, restart provisioning")
def policy_and_restart(backend):
    dead = online()
    backend.simulate_exit(running_on(backend, dead), exit_code=1)
    watch_online(clock=database_now)
    due = database_now() + timedelta(minutes=1)
    return Scene(actions={"policy": lambda: restart_crashed(now=due), "restart": _restart(dead)})


# --- Trees ---


@_pair("pause paused", "child: resume provisioning, pause paused; parent: pause paused")
def pause_of_a_parent_and_resume_of_its_child(_):
    parent, child = _family()
    pause(workspace_id=child.pk, now=database_now())
    return Scene(actions={"pause": _pause(parent), "resume": _resume(child)})


@_pair("pause paused", "child: create provisioning, pause paused; parent: pause paused")
def pause_of_a_parent_and_creation_of_a_child(_):
    parent = online(name="parent")
    return Scene(actions={"pause": _pause(parent), "create": lambda: queued(name="child", parent_id=parent.pk)})


@_pair(
    "child: pause paused; parent: pause paused",
    "child: restart provisioning, pause paused; parent: pause paused",
)
def pause_of_a_parent_and_restart_of_its_child(_):
    parent, child = _family()
    return Scene(actions={"pause": _pause(parent), "restart": _restart(child)})


@_pair("child: pause paused; parent: pause paused", "child: wake provisioning, pause paused; parent: pause paused")
def pause_of_a_parent_and_wake_of_its_child(_):
    parent = online(name="parent")
    child = hibernated(name="child", parent_id=parent.pk)
    return Scene(actions={"pause": _pause(parent), "wake": _wake(child)})


@_pair("pause paused", "child: pause paused; parent: pause paused")
def pause_of_a_parent_and_a_child_that_is_put_under_it(_):
    parent, child = online(name="parent"), online(name="child")
    putting = lambda: reparent(workspace_id=child.pk, parent_id=parent.pk)  # noqa: E731

    def then(met):
        assert isinstance(met.results["put"], Workspace) == ("child" in met.story)

    return Scene(actions={"pause": _pause(parent), "put": putting}, then=then)


@_pair(
    "remove removed",
    "child: create provisioning, remove removed; parent: remove removed",
)
def removal_of_a_parent_and_creation_of_a_child(_):
    parent = online(name="parent")
    return Scene(actions={"remove": _remove(parent), "create": lambda: queued(name="child", parent_id=parent.pk)})


@_pair("remove removed", "wake provisioning, remove removed")
def wake_and_remove(_):
    asleep = hibernated()
    return Scene(actions={"wake": _wake(asleep), "remove": _remove(asleep)})


@_pair("wake provisioning", "other wake provisioning")
def wake_and_wake(_):
    asleep = hibernated()
    return Scene(actions={"wake": _wake(asleep), "other wake": _wake(asleep)})


@_pair("resume provisioning", "other resume provisioning")
def resume_and_resume(_):
    paused = online()
    pause(workspace_id=paused.pk, now=database_now())
    return Scene(actions={"resume": _resume(paused), "other resume": _resume(paused)})


# --- The parts ---


def _family():
    parent = online(name="parent")
    return parent, online(name="child", parent_id=parent.pk)


def _status(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def _late():
    """One whose deadline for booting passed a minute ago; what earlier meetings left is not late."""
    return booting(now=database_now() - timedelta(minutes=11))


def _sweep():
    return lambda: sweep_stuck(now=database_now(), policy=Policy())


def _beat(workspace, **said):
    """A beat whose token was looked up before the meeting."""
    agent = find_agent(mint_agent_token(workspace))
    return lambda: registry.heartbeat(agent, HeartbeatIn(workspace_id=agent.workspace_id, **said), clock=database_now)


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
