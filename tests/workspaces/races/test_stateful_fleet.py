"""Random lives of a small fleet: every verb, report, duty and mishap in any order; what must always be true, is.

Launches and stops are the real tasks, taken from the queue in any order, lost, or interrupted by whatever else happens
while they ask the backend. Reports come from present and from earlier launches, some from agents whose token was
looked up long before.
"""

from contextlib import ExitStack, suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from registry import services as registry
from registry.schemas import HeartbeatIn
from tests.workspaces.factories import config_for, external, queued
from tests.workspaces.fake_backend import fake_backend
from tests.workspaces.invariants import assert_invariants, assert_one_object_each, objects_of
from tests.workspaces.races.fleet import (
    DUTIES,
    Fleet,
    WorkerKilled,
    agent_of,
    empty,
    is_ours,
    key_of,
    launches_of,
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
# By name, so that a failing example reads as a story.
OPERATORS = {
    operation.name: partial(run_one, operation, by="an operator", options=operation.admin_options)
    for operation in OPERATIONS
}
# These ask for nothing but the status.
UNGUARDED = frozenset({"pause", "cancel", "remove"})
KILLED = "kill the worker"
# Of eight minutes each.
MOST_ROUNDS = 14
MOST_WORKSPACES = 5
# A process of these may run on when all is settled.
MAY_RUN = frozenset({S.ONLINE, S.DEGRADED, S.OFFLINE})


AGO = st.sampled_from([0, 0, 0, 1, 2])
REPORTS = ["register", "register", "step a", "step b", "failed", "seen to fail"]
MISHAPS = ["stop", "start", "start", "lose a message", "start a stray", "cut", "mend", "mend"]
# What may happen: how often, as which method, and with what. One rule draws from it, so that a life is made of all.
HAPPENINGS = [
    (1, "create", {"under": st.none() | st.integers(0, 9), "kind": st.sampled_from(["idle", "stall", "out", "url"])}),
    (2, "operate", {"verb": st.sampled_from(sorted(OPERATORS))}),
    (6, "operate_as_the_table_says", {"number": st.integers(0, 9)}),
    (1, "operate", {"verb": st.just("remove")}),
    (1, "put_under", {"under": st.none() | st.integers(0, 9)}),
    (5, "come_online", {}),
    (2, "be_late", {"arrives": st.booleans()}),
    (2, "be_restarted", {"earlier": st.sampled_from(REPORTS)}),
    (2, "fall_asleep", {"but": st.sampled_from(["it works", "its backend is away", "nothing more"])}),
    (
        5,
        "report",
        {
            "ago": AGO,
            "is_new": st.booleans(),
            "what": st.sampled_from(REPORTS),
        },
    ),
    (
        5,
        "beat",
        {
            "ago": AGO,
            "is_new": st.booleans(),
            "busy": st.sampled_from([None, 0, 2]),
            "sick": st.sampled_from([None, 0.0, 0.9]),
            "state": st.sampled_from([None, "", "wedged"]),
        },
    ),
    (3, "do", {"duty": st.sampled_from(sorted(DUTIES))}),
    (3, "work", {"number": st.integers(0, 9)}),
    (1, "repeat_message", {"ago": AGO, "is_launch": st.booleans()}),
    (
        5,
        "work_interrupted",
        {
            "work": st.sampled_from(["message", "message", *sorted(DUTIES)]),
            "when": st.sampled_from(["before", "after"]),
            "what": st.sampled_from([KILLED, "register", *sorted(OPERATORS), *sorted(DUTIES), "message"]),
            "is_followed": st.booleans(),
        },
    ),
    (3, "time_passes", {"minutes": st.sampled_from([1, 5, 11]), "agents_beat": st.booleans()}),
    (1, "beat_is_away", {"seconds": st.sampled_from([1, 15, 70, 200, 700])}),
    (2, "end_process", {"ago": AGO, "how": st.sampled_from([0, 1, None, "vanishes", "held"])}),
    (1, "mishap", {"what": st.sampled_from(MISHAPS)}),
]


def _happening():
    drawn = [
        st.tuples(st.just(name), st.fixed_dictionaries(about))
        for weight, name, about in HAPPENINGS
        for _ in range(weight)
    ]
    return st.sampled_from(drawn).flatmap(lambda happening: happening)


class Lives(RuleBasedStateMachine):
    """A life is a sequence of happenings, each to one of the workspaces; the invariants are asked after each."""

    def __init__(self, clock, patch):
        super().__init__()
        empty()
        self.stack = ExitStack()
        self.fleet = Fleet(clock=clock, backend=self.stack.enter_context(fake_backend()))
        patch.setattr(enqueue, "_send", self.fleet.send)
        self.before = {}

    @initialize()
    def begin(self):
        """Two of ours, one under the other and online, and an external one: far enough to get anywhere from here."""
        parent = queued(name="parent")
        child = queued(name="child", parent_id=parent.pk, hibernation_idle_minutes=5)
        self.come_online(parent.pk)
        self.come_online(child.pk)
        external(url="http://localhost:9")

    @rule(number=st.integers(0, 9), happening=_happening())
    def happens(self, number, happening):
        name, about = happening
        if "under" in about:
            about = {**about, "under": None if about["under"] is None else self._numbered(about["under"])}
        getattr(self, name)(self._numbered(number), **about)

    def _numbered(self, number):
        rows = list(self.before.values())
        return rows[number % len(rows)].pk

    # --- Operators ---

    def create(self, _, under, kind):
        about = {"name": f"{kind} {len(self.before)}", "parent_id": under}
        if kind == "stall":
            about["config"] = config_for("echo", "runtime_config:\n  stall_timeout_seconds: 60\n")
        if kind == "idle":
            about["hibernation_idle_minutes"] = 5
        if len(self.before) == MOST_WORKSPACES:
            return
        with suppress(*REFUSALS):
            if kind in {"out", "url"}:
                external(**about, url="http://localhost:9" if kind == "url" else "")
            else:
                queued(**about)

    def operate(self, workspace, verb):
        was = Workspace.objects.get(pk=workspace)
        with suppress(*REFUSALS):
            OPERATORS[verb](workspace)
            return
        assert verb not in UNGUARDED or verb not in _possible(was), f"{verb} was refused of {was}"
        self._assert_unchanged(f"a refused {verb}")

    def operate_as_the_table_says(self, workspace, number):
        possible = [verb for verb in _possible(Workspace.objects.get(pk=workspace)) if verb != "remove"]
        if possible:
            self.operate(workspace, possible[number % len(possible)])

    def put_under(self, workspace, under):
        with suppress(*REFUSALS):
            trees.reparent(workspace_id=workspace, parent_id=under)

    def come_online(self, workspace):
        """Take the straight way, so that the later statuses are reached as often as the early ones."""
        status = Workspace.objects.get(pk=workspace).status
        if status in {S.PAUSED, S.HIBERNATED, S.FAILED, S.OFFLINE}:
            self.operate(workspace, {S.PAUSED: "resume", S.HIBERNATED: "wake"}.get(status, "restart"))
        self.fleet.deliver_all()
        self.report(workspace, 0, False, "register")

    def be_late(self, workspace, arrives):
        """Boot for longer than the limit, and arrive after all, or not."""
        self.operate(workspace, "restart")
        self.fleet.deliver_all()
        self.fleet.let_time_pass(minutes=11, agents_beat=True)
        if arrives:
            self.report(workspace, 0, False, "register")

    def be_restarted(self, workspace, earlier):
        """Boot anew, while a report of the launch before is still under way."""
        self.operate(workspace, "restart")
        self.fleet.deliver_all()
        self.report(workspace, 1, True, earlier)

    def fall_asleep(self, workspace, but):
        """Be sent to sleep, and be kept from it, or not."""
        self.operate(workspace, "hibernate")
        if but == "it works":
            self.beat(workspace, 0, False, 2, None, None)
        elif but == "its backend is away":
            self.fleet.backend.unreachable = True
            self.fleet.let_time_pass(minutes=6, agents_beat=self.fleet.clock.now.minute % 2 == 0)
            self.fleet.backend.unreachable = False

    # --- Agents, present and earlier ones ---

    def report(self, workspace, ago, is_new, what):
        self._report(workspace, ago, is_new, lambda agent: _tell(agent, what, now=self.fleet.clock.now))

    def beat(self, workspace, ago, is_new, busy, sick, state):
        says = {"active_tasks": busy, "error_rate": sick, "runtime_state": state}
        clock = lambda: self.fleet.clock.now  # noqa: E731
        self._report(
            workspace,
            ago,
            is_new,
            lambda agent: registry.heartbeat(agent, HeartbeatIn(workspace_id=agent.workspace_id, **says), clock=clock),
        )

    def _report(self, workspace, ago, is_new, tell):
        agent = self._agent(workspace, ago, is_new)
        if agent is None:
            return
        was = Workspace.objects.get(pk=workspace)
        with suppress(*REFUSALS):
            tell(agent)
        row = Workspace.objects.get(pk=workspace)
        is_unchanged = (was.status, was.version, was.deadline_at) == (row.status, row.version, row.deadline_at)
        assert is_unchanged or agent.launch_id == was.launch_id, f"what an earlier launch said moved {row}"

    def _agent(self, workspace, ago, is_new):
        """Return a launch's agent; one that `is_new` as its token was looked up when the launch was.

        An earlier one's in any case: it would be refused now, but its report may have been under way.
        """
        if not is_new and not ago:
            return agent_of(self._launch(workspace, 0))
        met = [self.fleet.newcomers[one.pk] for one in launches_of(workspace) if one.pk in self.fleet.newcomers]
        return met[min(ago, len(met) - 1)] if met else None

    def _launch(self, workspace, ago):
        launches = launches_of(workspace)
        return launches[min(ago, len(launches) - 1)]

    # --- Beat and the workers ---

    def do(self, _, duty):
        DUTIES[duty]()

    def work(self, _, number):
        if self.fleet.messages:
            self.fleet.deliver(number)

    def repeat_message(self, workspace, ago, is_launch):
        launch = self._launch(workspace, ago)
        if is_launch:
            tasks.launch(workspace_id=str(workspace), launch_id=str(launch.pk))
        else:
            tasks.tear_down(launch_id=str(launch.pk))

    def work_interrupted(self, workspace, work, when, what, is_followed):
        """Let something happen while a task asks the backend, before or after what that does; with what follows."""

        def act(key):
            self._interrupt(what, key)
            if is_followed:
                self.fleet.deliver_all()

        with self.fleet.interrupted(when, act):
            if work in DUTIES:
                DUTIES[work]()
            else:
                self.work(workspace, 0)

    def _interrupt(self, what, key):
        if what == KILLED:
            raise WorkerKilled
        if what in DUTIES:
            DUTIES[what]()
        elif what == "message":
            self.work(key.workspace_id, 0)
        elif what == "register" and key.workspace_id in self.before:
            self.report(key.workspace_id, 0, False, what)
        elif key.workspace_id in self.before:
            with suppress(*REFUSALS):
                OPERATORS[what](key.workspace_id)

    # --- Time, and the world outside ---

    def time_passes(self, _, minutes, agents_beat):
        self.fleet.let_time_pass(minutes=minutes, agents_beat=agents_beat)

    def beat_is_away(self, _, seconds):
        self.fleet.clock.advance(seconds=seconds)

    def end_process(self, workspace, ago, how):
        """Let a process end with this code, be lost by its backend, or be held by the kernel whatever is sent to it."""
        key = key_of(self._launch(workspace, ago))
        if how == "held":
            self.fleet.backend.immortal.add(key)
        elif key in objects_of(self.fleet.backend):
            self.fleet.backend.simulate_loss(key) if how == "vanishes" else self.fleet.backend.simulate_exit(
                key, exit_code=how
            )

    def mishap(self, _, what):
        if what == "stop":
            self.fleet.stop_slipway()
        elif what == "start":
            self.fleet.start_slipway()
        elif what == "lose a message":
            self.fleet.messages[:1] = []
        elif what == "start a stray":
            self.fleet.start_stray()
        else:
            self.fleet.backend.unreachable = what == "cut"

    # --- What is always true ---

    @invariant()
    def rows_launches_and_log_agree(self):
        assert_invariants()
        assert_one_object_each(self.fleet.backend)

    @invariant()
    def each_move_had_a_reason(self):
        now = {row.pk: row for row in Workspace.objects.all()}
        for pk, was in self.before.items():
            assert list(_unreasonable(was, now[pk], self.fleet)) == [], (
                f"{was} went from {was.status} to {now[pk].status}"
            )
        self.before = now
        self.fleet.meet_newcomers()

    def _assert_unchanged(self, what):
        for row in Workspace.objects.all():
            was = self.before.get(row.pk)
            assert was is None or (was.status, was.version) == (row.status, row.version), f"{what} moved {row}"

    # --- What is true in the end ---

    def teardown(self):
        """Mend the world outside, let no agent say anything more: it all settles."""
        try:
            self.fleet.backend.unreachable = False
            self.fleet.backend.immortal.clear()
            for _ in range(MOST_ROUNDS):
                self.fleet.let_time_pass(minutes=8, agents_beat=False)
                if not list(_unsettled(self.fleet)):
                    break
            self.rows_launches_and_log_agree()
            assert [f"{row} is {row.status}: {why}" for row, why in _unsettled(self.fleet)] == []
        finally:
            self.stack.close()


def _possible(workspace):
    """Return the operators' verbs that the table lets start from there."""
    return [operation.name for operation in OPERATIONS if workspace.status in operation.sources]


def _tell(agent, what, *, now):
    """Let an agent, or who watches its boot, say it."""
    about = {"workspace_id": agent.workspace_id, "launch_id": agent.launch_id}
    if what == "register":
        registry.register(agent, url="http://localhost:9", agent_card={"name": "a"}, now=now)
    elif what == "failed":
        said = {"code": FailureCode.CRASHED, "error": "It broke.", "missing": [], "log_tail": ""}
        registry.fail_by_agent(agent, **said, clock=lambda: now)
    elif what == "seen to fail":
        registry.fail_by_watcher(**about, error="It broke.", log_tail="", now=now)
    else:
        progress.record_progress(**about, step=what, now=now)


def _unreasonable(was, row, fleet):
    """Yield what speaks against the step from one to the other, as far as one move led there."""
    if was.status == S.REMOVED and row.status != S.REMOVED:
        yield "it was removed"
    if row.version != was.version + 1:
        return
    launch, now = Launch.objects.get(pk=row.launch_id), fleet.clock.now
    is_new = row.launch_id != was.launch_id
    if is_new != (row.status == S.PROVISIONING) and is_ours(row):
        yield "provisioning and a new launch come together"
    by_time = row.failure_source == FailureSource.PROVISION_TIMEOUT_SWEEP
    if row.status == S.FAILED and by_time and not (was.deadline_at and was.deadline_at <= now):
        yield f"its deadline was {was.deadline_at}"
    if row.status == S.ONLINE and was.status == S.FAILED and was.failure_code not in DEADLINE_FAILURES:
        yield f"it had failed by {was.failure_code}"
    is_busy = Heartbeat.objects.filter(pk=row.pk, active_tasks__gt=0).exists()
    if row.status == S.HIBERNATING and is_busy and not launch.teardown_is_forced:
        yield "it has tasks"
    if row.status == S.HIBERNATED and key_of(launch) in objects_of(fleet.backend):
        yield "its process runs"


def _unsettled(fleet):
    held = {key.launch_id for key in objects_of(fleet.backend)}
    known = set(Launch.objects.values_list("pk", flat=True))
    assert held <= known, "what no row knows runs on"
    for row in Workspace.objects.all():
        running = held & {launch.pk for launch in row.launches.all()}
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


def live(patch, **size):
    with set_clock() as clock:
        run_machine(
            lambda: Lives(clock, patch),
            settings=settings(
                **size,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )


# Time enough to tell the shortest life that fails.
@pytest.mark.timeout(600)
@pytest.mark.django_db(transaction=True)
def test_whatever_happens_in_whatever_order_rows_log_and_processes_agree(monkeypatch):
    # The same lives each time: a change that is not to blame doesn't fail. The soak looks for new ones.
    live(monkeypatch, max_examples=25, stateful_step_count=40, derandomize=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.django_db(transaction=True)
def test_so_do_many_longer_lives(monkeypatch):
    live(monkeypatch, max_examples=1500, stateful_step_count=60)
