"""A small fleet for model-based tests: real operations, tasks and rows; the test controls queue, backend and clock."""

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from celery import Task
from django.db import connection

from devserver.stop_and_resume import request_stops
from events.models import Event
from registry import heartbeat
from registry import services as registry
from registry import tasks as registry_tasks
from registry.schemas import HeartbeatIn
from tests.workspaces.invariants import running_launches_of
from tests.workspaces.unguarded import unguarded
from workspaces import tasks
from workspaces.access.authentication import find_agent
from workspaces.access.errors import RequestRefused
from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import AgentToken, BackendKind, Heartbeat, Launch, SweepRun, Workspace
from workspaces.models.incidents import Incident, Liveness
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, ProvisionerError
from workspaces.services.core.degradation import StoredHeartbeat
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown
from workspaces.services.stopping import shutdown, teardown

S = WorkspaceStatus
# The tasks that beat sends, by a short name.
PERIODIC_TASKS = {
    "sweep": tasks.sweep_stuck,
    "mark silent": registry_tasks.sweep_silent,
    "hibernate": tasks.sweep_hibernation,
    "watch": tasks.watch,
    "dispatch": tasks.dispatch_due,
    "reap": tasks.reap,
    "delete files": tasks.delete_files,
}
REGISTERED = frozenset({S.ONLINE, S.DEGRADED, S.HIBERNATING})
_MODELS = (
    *(Event, Incident, Liveness, SweepRun),
    *(AgentToken, Heartbeat, Launch, Workspace),
)


class WorkerKilled(BaseException):
    """Raised in a task to stop it as if its worker had been killed."""


@dataclass(frozen=True)
class Message:
    """A message to a task in the queue."""

    task: "Task[Any, Any]"
    arguments: dict[str, Any]

    def __repr__(self):
        return f"{self.task.name}({self.arguments})"


class Fleet:
    """The queue, the backend, the clock and the agents of a test."""

    def __init__(self, *, clock, backend):
        self.clock = clock
        self.backend = backend
        self.messages = []
        # The agent of each launch by the launch's ID, with a token that was looked up when the launch was new.
        self.agents = {}

    def send(self, task, arguments):
        """Queue a message, in place of the broker."""
        self.messages.append(Message(task, arguments))

    def remember_agents(self):
        """Look up the tokens of new launches now, because their agents may report with them much later."""
        for launch in Launch.objects.current().exclude(pk__in=self.agents):
            if agent := agent_of(launch):
                self.agents[launch.pk] = agent

    def deliver(self, number):
        """Run one of the queued tasks, in any order."""
        message = self.messages.pop(number % len(self.messages))
        message.task(**message.arguments)
        self.remember_agents()

    def deliver_all(self):
        while self.messages:
            self.deliver(0)

    @contextmanager
    def interrupted(self, when, act):
        """Act once, before or after the block's first backend call, while a task waits for its answer."""

        def once(call, key):
            if call in {"start", "stop", "inspect"}:
                self._remove_hooks()
                act(key)

        setattr(self.backend, f"{when}_call", once)
        try:
            yield
        except WorkerKilled:
            pass
        finally:
            self._remove_hooks()

    def _remove_hooks(self):
        self.backend.before_call = self.backend.after_call = lambda call, key: None

    def stop_slipway(self):
        """Pause and stop every running workspace, as a shutdown of Slipway does."""
        due = shutdown.pause_all_for_shutdown(now=self.clock.now)
        request_stops(due, over=threading.Event(), ends_at=time.monotonic() + 60)
        for launch in due:
            teardown.tear_down(launch_id=launch.pk, now=self.clock.now)

    def start_slipway(self):
        for workspace in resume_after_shutdown(now=self.clock.now):
            tasks.enqueue_launches(workspace.backend, now=self.clock.now)

    def start_unknown_launch(self):
        """Let the backend run a launch that has no row."""
        key = LaunchKey(workspace_id=uuid4(), launch_id=uuid4())
        with suppress(ProvisionerError):
            self.backend.start(LaunchSpec(key=key, environment={}, config={}, token="t", start_timeout_seconds=1))

    def has_files(self, key):
        """Return whether the backend keeps anything of this launch, ended or not."""
        return self.backend.inspect(key).state is not BackendState.MISSING

    def let_time_pass(self, *, minutes, agents_are_alive):
        """Advance the clock without an outage, which would extend deadlines, then run all periodic tasks."""
        self.clock.advance(minutes=minutes)
        Liveness.objects.update(alive_at=self.clock.now)
        if agents_are_alive:
            self._send_heartbeats()
        for task in PERIODIC_TASKS.values():
            task()
        self.deliver_all()

    def _send_heartbeats(self):
        """Send a heartbeat of each registered agent whose process runs."""
        running = {key.launch_id for key in running_launches_of(self.backend)}
        for launch in Launch.objects.current().filter(pk__in=running, workspace__status__in=REGISTERED):
            if agent := agent_of(launch):
                send_heartbeat(agent)


def send_heartbeat(agent, *, is_late=False, **fields):
    """Send a heartbeat of an agent's launch with a new token, if it is the current one.

    If `is_late`, a heartbeat that was stored when `agent` was looked up is followed only now.
    """
    report = HeartbeatIn(workspace_id=agent.workspace_id, **fields)
    workspace = Workspace.objects.get(pk=agent.workspace_id)
    if workspace.launch_id == agent.launch_id:
        with suppress(RequestRefused):
            heartbeat.store(mint_agent_token(workspace), report)
    if is_late:
        stored = StoredHeartbeat(report.error_rate or 0, "", report.runtime_state or "", False)
        registry.follow_heartbeat(agent, stored, has_tasks=bool(report.active_tasks))


def launches_of(workspace_id):
    """Return a workspace's launches, the current one first."""
    rows = Launch.objects.filter(workspace_id=workspace_id).order_by("-queued_at", "pk")
    current = Workspace.objects.values_list("launch_id", flat=True).get(pk=workspace_id)
    return sorted(rows, key=lambda launch: launch.pk != current)


def agent_of(launch):
    """Look up a token of the launch's agent now. Return the agent, or None if it has none or it is refused."""
    # An external workspace has its token from the beginning.
    has_token = launch.launching_at is not None or launch.backend == BackendKind.EXTERNAL
    if not has_token or launch.workspace.launch_id != launch.pk:
        return None
    try:
        return find_agent(mint_agent_token(launch.workspace))
    except RequestRefused:
        return None


def key_of(launch):
    return LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)


def delete_all_rows():
    """Delete all rows that a run can write."""
    with unguarded(), connection.cursor() as cursor:
        for model in _MODELS:
            cursor.execute(f'DELETE FROM "{model._meta.db_table}"')  # noqa: S608


def is_launched_by_slipway(workspace):
    return workspace.backend != BackendKind.EXTERNAL
