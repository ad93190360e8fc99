"""Model-based tests: operations, reports, tasks and outside events in random order never break the invariants.

Launches and teardowns are the real tasks. They are taken from the queue in any order, lost, or interrupted by another
step while they wait for the backend. Reports come from current and earlier launches, some with a token that was looked
up long before.
"""

from contextlib import ExitStack, suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from registry import services as registry
from tests.workspaces.factories import config_for, external, queued
from tests.workspaces.fake_backend import fake_backend
from tests.workspaces.invariants import assert_at_most_one_launch_runs, assert_invariants, running_launches_of
from tests.workspaces.races.fleet import (
    PERIODIC_TASKS,
    Fleet,
    WorkerKilled,
    agent_of,
    delete_all_rows,
    is_launched_by_slipway,
    key_of,
    launches_of,
    send_heartbeat,
)
from tests.workspaces.races.interleaving import REFUSALS
from tests.workspaces.set_clock import set_clock
from workspaces import enqueue, tasks
from workspaces.lifecycle.transitions import (
    DEADLINE_FAILURES,
    FailureCode,
    FailureSource,
    WorkspaceStatus,
)
from workspaces.models import Heartbeat, Launch, Workspace
from workspaces.operations import OPERATIONS, run_one
from workspaces.services.core import trees
from workspaces.services.launching import progress

S = WorkspaceStatus
# By name, so that a failing example is readable.
OPERATORS = {
    operation.name: partial(run_one, operation, by="an operator", options=operation.admin_options)
    for operation in OPERATIONS
}
# These depend on the status alone.
REFUSED_BY_STATUS_ALONE = frozenset({"pause", "cancel", "remove"})
KILLED = "kill the worker"
# Rounds of eight minutes each.
MAX_SETTLING_ROUNDS = 14
MAX_WORKSPACES = 5
# A process may still run in these statuses when the fleet has settled.
MAY_RUN = frozenset({S.ONLINE, S.DEGRADED, S.OFFLINE})


LAUNCHES_AGO = st.sampled_from([0, 0, 0, 1, 2])
REPORTS = ["register", "register", "step a", "step b", "failed", "bootstrap failed"]
OUTSIDE_EVENTS = [
    "stop",
    "start",
    "start",
    "lose a message",
    "start an unknown launch",
    "backend away",
    "backend back",
    "backend back",
]
# The steps: weight, method, arguments. One rule draws from all of them, so that each run is a mixture.
STEPS = [
    (
        1,
        "create",
        {
            "parent": st.none() | st.integers(0, 9),
            "kind": st.sampled_from(["idle", "stall", "external", "external with url"]),
        },
    ),
    (2, "operate", {"verb": st.sampled_from(sorted(OPERATORS))}),
    (6, "operate_if_allowed", {"number": st.integers(0, 9)}),
    (1, "operate", {"verb": st.just("remove")}),
    (1, "move", {"parent": st.none() | st.integers(0, 9)}),
    (5, "come_online", {}),
    (2, "miss_the_deadline", {"registers": st.booleans()}),
    (2, "restart_before_a_late_report", {"late_report": st.sampled_from(REPORTS)}),
    (2, "hibernate", {"prevented_by": st.sampled_from(["a task begins", "the backend is unreachable", "nothing"])}),
    (
        5,
        "report",
        {
            "launches_ago": LAUNCHES_AGO,
            "early_token": st.booleans(),
            "what": st.sampled_from(REPORTS),
        },
    ),
    (
        5,
        "beat",
        {
            "launches_ago": LAUNCHES_AGO,
            "early_token": st.booleans(),
            "active_tasks": st.sampled_from([None, 0, 2]),
            "error_rate": st.sampled_from([None, 0.0, 0.9]),
            "runtime_state": st.sampled_from([None, "", "wedged"]),
        },
    ),
    (3, "run_task", {"task": st.sampled_from(sorted(PERIODIC_TASKS))}),
    (3, "run_message", {"number": st.integers(0, 9)}),
    (1, "repeat_task", {"launches_ago": LAUNCHES_AGO, "is_launch": st.booleans()}),
    (
        5,
        "interrupt_task",
        {
            "interrupted": st.sampled_from(["message", "message", *sorted(PERIODIC_TASKS)]),
            "when": st.sampled_from(["before", "after"]),
            "what": st.sampled_from([KILLED, "register", *sorted(OPERATORS), *sorted(PERIODIC_TASKS), "message"]),
            "with_follow_ups": st.booleans(),
        },
    ),
    (3, "let_time_pass", {"minutes": st.sampled_from([1, 5, 11]), "agents_are_alive": st.booleans()}),
    (1, "stop_beat", {"seconds": st.sampled_from([1, 15, 70, 200, 700])}),
    (
        2,
        "end_process",
        {"launches_ago": LAUNCHES_AGO, "how": st.sampled_from([0, 1, None, "vanishes", "hangs"])},
    ),
    (1, "outside_event", {"what": st.sampled_from(OUTSIDE_EVENTS)}),
]


def _steps():
    drawn = [
        st.tuples(st.just(name), st.fixed_dictionaries(arguments))
        for weight, name, arguments in STEPS
        for _ in range(weight)
    ]
    return st.sampled_from(drawn).flatmap(lambda step: step)


class FleetMachine(RuleBasedStateMachine):
    """Runs random steps, each with one of the workspaces, and checks the invariants after each step."""

    def __init__(self, clock, monkeypatch):
        super().__init__()
        delete_all_rows()
        self.stack = ExitStack()
        self.fleet = Fleet(clock=clock, backend=self.stack.enter_context(fake_backend()))
        monkeypatch.setattr(enqueue, "_send", self.fleet.send)
        self.before = {}

    @initialize()
    def begin(self):
        """Create an online parent, its online child and an external workspace, from which any status can be reached."""
        parent = queued(name="parent")
        child = queued(name="child", parent_id=parent.pk, hibernation_idle_minutes=5)
        self.come_online(parent.pk)
        self.come_online(child.pk)
        external(url="http://localhost:9")

    @rule(number=st.integers(0, 9), step=_steps())
    def take_step(self, number, step):
        name, arguments = step
        if "parent" in arguments:
            arguments = {
                **arguments,
                "parent": None if arguments["parent"] is None else self._numbered(arguments["parent"]),
            }
        getattr(self, name)(self._numbered(number), **arguments)

    def _numbered(self, number):
        rows = list(self.before.values())
        return rows[number % len(rows)].pk

    # --- Operators ---

    def create(self, _, parent, kind):
        arguments = {"name": f"{kind} {len(self.before)}", "parent_id": parent}
        if kind == "stall":
            arguments["config"] = config_for("echo", "runtime_config:\n  stall_timeout_seconds: 60\n")
        if kind == "idle":
            arguments["hibernation_idle_minutes"] = 5
        if len(self.before) == MAX_WORKSPACES:
            return
        with suppress(*REFUSALS):
            if kind in {"external", "external with url"}:
                external(**arguments, url="http://localhost:9" if kind == "external with url" else "")
            else:
                queued(**arguments)

    def operate(self, workspace, verb):
        was = Workspace.objects.get(pk=workspace)
        with suppress(*REFUSALS):
            OPERATORS[verb](workspace)
            return
        assert verb not in REFUSED_BY_STATUS_ALONE or verb not in _allowed_operations(was), (
            f"{verb} was refused of {was}"
        )
        self._assert_unchanged(f"a refused {verb}")

    def operate_if_allowed(self, workspace, number):
        allowed = [verb for verb in _allowed_operations(Workspace.objects.get(pk=workspace)) if verb != "remove"]
        if allowed:
            self.operate(workspace, allowed[number % len(allowed)])

    def move(self, workspace, parent):
        with suppress(*REFUSALS):
            trees.reparent(workspace_id=workspace, parent_id=parent)

    def come_online(self, workspace):
        """Bring the workspace online directly, so that later statuses occur as often as early ones."""
        status = Workspace.objects.get(pk=workspace).status
        if status in {S.PAUSED, S.HIBERNATED, S.FAILED, S.OFFLINE}:
            self.operate(workspace, {S.PAUSED: "resume", S.HIBERNATED: "wake"}.get(status, "restart"))
        self.fleet.deliver_all()
        self.report(workspace, 0, False, "register")

    def miss_the_deadline(self, workspace, registers):
        """Boot for longer than the limit, then register or not."""
        self.operate(workspace, "restart")
        self.fleet.deliver_all()
        self.fleet.let_time_pass(minutes=11, agents_are_alive=True)
        if registers:
            self.report(workspace, 0, False, "register")

    def restart_before_a_late_report(self, workspace, late_report):
        """Restart, then receive a late report of the earlier launch."""
        self.operate(workspace, "restart")
        self.fleet.deliver_all()
        self.report(workspace, 1, True, late_report)

    def hibernate(self, workspace, prevented_by):
        """Hibernate, with or without something that prevents it."""
        self.operate(workspace, "hibernate")
        if prevented_by == "a task begins":
            self.beat(workspace, 0, False, 2, None, None)
        elif prevented_by == "the backend is unreachable":
            self.fleet.backend.unreachable = True
            self.fleet.let_time_pass(minutes=6, agents_are_alive=self.fleet.clock.now.minute % 2 == 0)
            self.fleet.backend.unreachable = False

    # --- Agents of current and earlier launches ---

    def report(self, workspace, launches_ago, early_token, what):
        now = self.fleet.clock.now
        self._report(workspace, launches_ago, early_token, lambda agent: _send_report(agent, what, now=now))

    def beat(self, workspace, launches_ago, early_token, active_tasks, error_rate, runtime_state):
        fields = {"active_tasks": active_tasks, "error_rate": error_rate, "runtime_state": runtime_state}
        is_late = early_token or launches_ago > 0
        send = lambda agent: send_heartbeat(agent, is_late=is_late, **fields)  # noqa: E731
        self._report(workspace, launches_ago, early_token, send)

    def _report(self, workspace, launches_ago, early_token, send):
        agent = self._agent(workspace, launches_ago, early_token)
        if agent is None:
            return
        was = Workspace.objects.get(pk=workspace)
        with suppress(*REFUSALS):
            send(agent)
        row = Workspace.objects.get(pk=workspace)
        is_unchanged = (was.status, was.version, was.deadline_at) == (row.status, row.version, row.deadline_at)
        assert is_unchanged or agent.launch_id == was.launch_id, f"a report of an earlier launch changed {row}"

    def _agent(self, workspace, launches_ago, early_token):
        """Return a launch's agent. With `early_token`, its token was looked up when the launch was new.

        The token of an earlier launch always was: it would be refused now, but its report may have been under way.
        """
        if not early_token and not launches_ago:
            return agent_of(self._launch(workspace, 0))
        agents = [self.fleet.agents[one.pk] for one in launches_of(workspace) if one.pk in self.fleet.agents]
        return agents[min(launches_ago, len(agents) - 1)] if agents else None

    def _launch(self, workspace, launches_ago):
        launches = launches_of(workspace)
        return launches[min(launches_ago, len(launches) - 1)]

    # --- Beat and the workers ---

    def run_task(self, _, task):
        PERIODIC_TASKS[task]()

    def run_message(self, _, number):
        if self.fleet.messages:
            self.fleet.deliver(number)

    def repeat_task(self, workspace, launches_ago, is_launch):
        launch = self._launch(workspace, launches_ago)
        if is_launch:
            tasks.launch(workspace_id=str(workspace), launch_id=str(launch.pk))
        else:
            tasks.tear_down(launch_id=str(launch.pk))

    def interrupt_task(self, workspace, interrupted, when, what, with_follow_ups):
        """Take another step before or after a task's first backend call, and run the tasks that it queued or not."""

        def act(key):
            self._interrupt(what, key)
            if with_follow_ups:
                self.fleet.deliver_all()

        with self.fleet.interrupted(when, act):
            if interrupted in PERIODIC_TASKS:
                PERIODIC_TASKS[interrupted]()
            else:
                self.run_message(workspace, 0)

    def _interrupt(self, what, key):
        if what == KILLED:
            raise WorkerKilled
        if what in PERIODIC_TASKS:
            PERIODIC_TASKS[what]()
        elif what == "message":
            self.run_message(key.workspace_id, 0)
        elif what == "register" and key.workspace_id in self.before:
            self.report(key.workspace_id, 0, False, what)
        elif key.workspace_id in self.before:
            with suppress(*REFUSALS):
                OPERATORS[what](key.workspace_id)

    # --- Time and outside events ---

    def let_time_pass(self, _, minutes, agents_are_alive):
        self.fleet.let_time_pass(minutes=minutes, agents_are_alive=agents_are_alive)

    def stop_beat(self, _, seconds):
        self.fleet.clock.advance(seconds=seconds)

    def end_process(self, workspace, launches_ago, how):
        """End a process with this code, let its backend lose it, or let no signal stop it."""
        key = key_of(self._launch(workspace, launches_ago))
        if how == "hangs":
            self.fleet.backend.immortal.add(key)
        elif key in running_launches_of(self.fleet.backend):
            self.fleet.backend.simulate_loss(key) if how == "vanishes" else self.fleet.backend.simulate_exit(
                key, exit_code=how
            )

    def outside_event(self, _, what):
        if what == "stop":
            self.fleet.stop_slipway()
        elif what == "start":
            self.fleet.start_slipway()
        elif what == "lose a message":
            self.fleet.messages[:1] = []
        elif what == "start an unknown launch":
            self.fleet.start_unknown_launch()
        else:
            self.fleet.backend.unreachable = what == "backend away"

    # --- Invariants ---

    @invariant()
    def rows_launches_and_log_agree(self):
        assert_invariants()
        assert_at_most_one_launch_runs(self.fleet.backend)

    @invariant()
    def each_change_has_a_reason(self):
        now = {row.pk: row for row in Workspace.objects.all()}
        for pk, was in self.before.items():
            assert list(_wrong_changes(was, now[pk], self.fleet)) == [], (
                f"{was} went from {was.status} to {now[pk].status}"
            )
        self.before = now
        self.fleet.remember_agents()

    def _assert_unchanged(self, what):
        for row in Workspace.objects.all():
            was = self.before.get(row.pk)
            assert was is None or (was.status, was.version) == (row.status, row.version), f"{what} changed {row}"

    # --- At the end ---

    def teardown(self):
        """Check that the fleet settles once the backend works again and no agent reports anything."""
        try:
            self.fleet.backend.unreachable = False
            self.fleet.backend.immortal.clear()
            for _ in range(MAX_SETTLING_ROUNDS):
                self.fleet.let_time_pass(minutes=8, agents_are_alive=False)
                if not list(_unsettled(self.fleet)):
                    break
            self.rows_launches_and_log_agree()
            assert [f"{row} is {row.status}: {why}" for row, why in _unsettled(self.fleet)] == []
        finally:
            self.stack.close()


def _allowed_operations(workspace):
    """Return the operations that the transition table allows in the workspace's status."""
    return [operation.name for operation in OPERATIONS if workspace.status in operation.sources]


def _send_report(agent, what, *, now):
    """Send a report of an agent or of the watcher of its boot."""
    arguments = {"workspace_id": agent.workspace_id, "launch_id": agent.launch_id}
    if what == "register":
        registry.register(agent, url="http://localhost:9", agent_card={"name": "a"}, now=now)
    elif what == "failed":
        reason = {"code": FailureCode.CRASHED, "error": "It broke.", "missing": [], "log_tail": ""}
        registry.fail_by_agent(agent, **reason, clock=lambda: now)
    elif what == "bootstrap failed":
        registry.fail_by_watcher(**arguments, error="It broke.", log_tail="", now=now)
    else:
        progress.record_progress(**arguments, step=what, now=now)


def _wrong_changes(was, row, fleet):
    """Yield what is wrong with a change of a workspace. Most checks need it to be a single transition."""
    if was.status == S.REMOVED and row.status != S.REMOVED:
        yield "it was removed"
    if row.version != was.version + 1:
        return
    launch, now = Launch.objects.get(pk=row.launch_id), fleet.clock.now
    is_new_launch = row.launch_id != was.launch_id
    if is_new_launch != (row.status == S.PROVISIONING) and is_launched_by_slipway(row):
        yield "provisioning without a new launch, or the reverse"
    by_time = row.failure_source == FailureSource.PROVISION_TIMEOUT_SWEEP
    if row.status == S.FAILED and by_time and not (was.deadline_at and was.deadline_at <= now):
        yield f"its deadline was {was.deadline_at}"
    if row.status == S.ONLINE and was.status == S.FAILED and was.failure_code not in DEADLINE_FAILURES:
        yield f"it had failed by {was.failure_code}"
    is_busy = Heartbeat.objects.filter(pk=row.pk, active_tasks__gt=0).exists()
    if row.status == S.HIBERNATING and is_busy and not launch.teardown_is_forced:
        yield "it has tasks"
    if row.status == S.HIBERNATED and key_of(launch) in running_launches_of(fleet.backend):
        yield "its process runs"


def _unsettled(fleet):
    running_ids = {key.launch_id for key in running_launches_of(fleet.backend)}
    known = set(Launch.objects.values_list("pk", flat=True))
    assert running_ids <= known, "a launch without a row still runs"
    for row in Workspace.objects.all():
        running = running_ids & {launch.pk for launch in row.launches.all()}
        if running - ({row.launch_id} if row.status in MAY_RUN else set()):
            yield row, "a process is left"
        if row.status in {S.PROVISIONING, S.HIBERNATING}:
            yield row, "it waits for something"
        if row.restart_due_at is not None:
            yield row, "its restart is due"
        if row.status == S.REMOVED and row.files_deleted_at is None:
            yield row, "its files are not deleted"
        if row.status == S.REMOVED and any(fleet.has_files(key_of(launch)) for launch in row.launches.all()):
            yield row, "it has files again"
    for launch in Launch.objects.due_for_teardown(now=fleet.clock.now):
        yield launch.workspace, f"its launch is still to be stopped: {launch.teardown_error}"


def run_steps(monkeypatch, **size):
    with set_clock() as clock:
        run_machine(
            lambda: FleetMachine(clock, monkeypatch),
            settings=settings(
                **size,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )


# Shrinking a failing example takes time.
@pytest.mark.timeout(600)
@pytest.mark.django_db(transaction=True)
def test_rows_log_and_processes_agree_after_any_steps_in_any_order(monkeypatch):
    # The same examples each time, so that unrelated changes do not fail. The soak test looks for new ones.
    run_steps(monkeypatch, max_examples=25, stateful_step_count=40, derandomize=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.django_db(transaction=True)
def test_rows_log_and_processes_agree_after_many_longer_runs(monkeypatch):
    run_steps(monkeypatch, max_examples=1500, stateful_step_count=60)
