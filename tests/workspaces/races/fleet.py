"""A small fleet for model-based tests: real verbs, tasks and rows; queue, backend and clock are in the test's hand."""

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from celery import Task
from django.db import connection

from devserver.stop_and_resume import request_stops
from events.models import Event
from registry import services as registry
from registry import tasks as registry_tasks
from registry.schemas import HeartbeatIn
from tests.workspaces.invariants import objects_of
from tests.workspaces.unguarded import unguarded
from workspaces import tasks
from workspaces.access.authentication import find_agent
from workspaces.access.errors import RequestRefused
from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import AgentToken, BackendKind, Heartbeat, Launch, SweepRun, Workspace
from workspaces.models.incidents import Incident, Liveness
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, ProvisionerError
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown
from workspaces.services.stopping import shutdown, teardown

S = WorkspaceStatus
# What beat does over and over.
DUTIES = {
    "sweep": tasks.sweep_stuck,
    "listen": registry_tasks.sweep_silent,
    "hibernate": tasks.sweep_hibernation,
    "watch": tasks.watch,
    "dispatch": tasks.dispatch_due,
    "reap": tasks.reap,
    "delete": tasks.delete_files,
}
ARRIVED = frozenset({S.ONLINE, S.DEGRADED, S.HIBERNATING})
_WRITTEN = (
    *(Event, Incident, Liveness, SweepRun),
    *(AgentToken, Heartbeat, Launch, Workspace),
)


class WorkerKilled(BaseException):
    """The worker is gone in the middle of its task."""


@dataclass(frozen=True)
class Message:
    """What an interface handed to the queue."""

    task: "Task[Any, Any]"
    arguments: dict[str, Any]

    def __repr__(self):
        return f"{self.task.name}({self.arguments})"


class Fleet:
    """Holds what stands between the rows and the world outside."""

    def __init__(self, *, clock, backend):
        self.clock = clock
        self.backend = backend
        self.messages = []
        # Each launch's agent, its token looked up when the launch was new.
        self.newcomers = {}

    def send(self, task, arguments):
        """Take the place of the broker."""
        self.messages.append(Message(task, arguments))

    def meet_newcomers(self):
        """Look up the tokens of launches that just got one: what such an agent says may come much later."""
        for launch in Launch.objects.current().exclude(pk__in=self.newcomers):
            if agent := agent_of(launch):
                self.newcomers[launch.pk] = agent

    def deliver(self, number):
        """Let a worker do one of the tasks that are queued; their order is not kept."""
        message = self.messages.pop(number % len(self.messages))
        message.task(**message.arguments)
        self.meet_newcomers()

    def deliver_all(self):
        while self.messages:
            self.deliver(0)

    @contextmanager
    def interrupted(self, when, act):
        """Act before or after the block's first question to the backend, its caller in the middle of a task."""

        def once(call, key):
            if call in {"start", "stop", "inspect"}:
                self._let_be()
                act(key)

        setattr(self.backend, f"{when}_call", once)
        try:
            yield
        except WorkerKilled:
            pass
        finally:
            self._let_be()

    def _let_be(self):
        self.backend.before_call = self.backend.after_call = lambda call, key: None

    def stop_slipway(self):
        """Stop all that runs, as Slipway's own stop does."""
        due = shutdown.pause_all_for_shutdown(now=self.clock.now)
        request_stops(due)
        for launch in due:
            teardown.tear_down(launch_id=launch.pk, now=self.clock.now)

    def start_slipway(self):
        for workspace in resume_after_shutdown(now=self.clock.now):
            tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)

    def start_stray(self):
        """Let the backend run an object that no row knows."""
        key = LaunchKey(workspace_id=uuid4(), launch_id=uuid4())
        with suppress(ProvisionerError):
            self.backend.start(LaunchSpec(key=key, environment={}, config={}, token="t", start_timeout_seconds=1))

    def has_files(self, key):
        """Tell whether the backend keeps anything of this launch, ended or not."""
        return self.backend.inspect(key).state is not BackendState.MISSING

    def let_time_pass(self, *, minutes, agents_beat):
        """Let that time go by with beat at its work: no outage, which would give everyone that time back."""
        self.clock.advance(minutes=minutes)
        Liveness.objects.update(alive_at=self.clock.now)
        if agents_beat:
            self._let_beat()
        for duty in DUTIES.values():
            duty()
        self.deliver_all()

    def _let_beat(self):
        """Let each agent beat whose process runs and that arrived."""
        running = {key.launch_id for key in objects_of(self.backend)}
        for launch in Launch.objects.current().filter(pk__in=running, workspace__status__in=ARRIVED):
            if agent := agent_of(launch):
                registry.heartbeat(agent, HeartbeatIn(workspace_id=agent.workspace_id), clock=lambda: self.clock.now)


def launches_of(workspace_id):
    """Return a workspace's launches, the present one first."""
    rows = Launch.objects.filter(workspace_id=workspace_id).order_by("-queued_at", "pk")
    present = Workspace.objects.values_list("launch_id", flat=True).get(pk=workspace_id)
    return sorted(rows, key=lambda launch: launch.pk != present)


def agent_of(launch):
    """Return the launch's agent as its token is looked up now; None where it has none, or one that is refused."""
    # Whoever runs an external one has its token from the beginning.
    has_token = launch.launching_at is not None or launch.backend == BackendKind.EXTERNAL
    if not has_token or launch.workspace.launch_id != launch.pk:
        return None
    try:
        return find_agent(mint_agent_token(launch.workspace))
    except RequestRefused:
        return None


def key_of(launch):
    return LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)


def empty():
    """Begin with no row at all."""
    with unguarded(), connection.cursor() as cursor:
        for model in _WRITTEN:
            cursor.execute(f'DELETE FROM "{model._meta.db_table}"')  # noqa: S608


def is_ours(workspace):
    return workspace.backend != BackendKind.EXTERNAL
