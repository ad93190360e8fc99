"""Workspaces in each status, made by the real services at a given time."""

from datetime import timedelta

from postgres.clock import database_now
from workspaces.lifecycle.transitions import FailureCode, FailureSource, Phase, Verb
from workspaces.models import Heartbeat, Launch, Workspace
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, Observation
from workspaces.services.core import launch_records
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.launching.launch import enter_booting
from workspaces.services.launching.mark_online import Registration, mark_online
from workspaces.services.stopping.hibernate import hibernate
from workspaces.services.stopping.teardown import confirm_stopped

CARD = {"name": "tester", "version": "1"}


def config_for(runtime, extra=""):
    return f"name: {runtime} tester\nruntime: {runtime}\n{extra}"


def queued(*, runtime="echo", now=None, **fields):
    """A workspace that waits for a launch worker."""
    request = CreateRequest(**({"config": config_for(runtime)} | fields))
    return create(request, now=now or database_now()).workspace


def queue_up(number, *, backend="process", now=None):
    """Many workspaces that wait for a launch worker, inserted at once, in the order of their names."""
    now = now or database_now()
    rows, launches = [], []
    for place in range(number):
        row = Workspace(name=f"queued-{place:05}", runtime="echo", config=config_for("echo"), backend=backend)
        at = now + timedelta(milliseconds=place)
        launches.append(Launch(id=row.launch_id, workspace=row, backend=backend, runtime="echo", queued_at=at))
        row.provisioning_started_at = row.progress_at = at
        for name, value in launch_records.phase_fields(row, Phase.QUEUED, now=now).items():
            setattr(row, name, value)
        rows.append(row)
    Workspace.objects.bulk_create(rows)
    Launch.objects.bulk_create(launches)
    Heartbeat.objects.bulk_create([Heartbeat(workspace=row, launch_id=row.launch_id) for row in rows])
    return rows


def launching(*, now=None, **fields):
    """A workspace whose worker has begun to launch it."""
    now = now or database_now()
    workspace = queued(now=now, **fields)
    Workspace.objects.filter(pk=workspace.pk).update(**launch_records.phase_fields(workspace, Phase.LAUNCHING, now=now))
    Launch.objects.filter(pk=workspace.launch_id).update(launching_at=now)
    return Workspace.objects.get(pk=workspace.pk)


def booting(*, now=None, **fields):
    """A workspace that its backend runs and whose agent has not registered."""
    now = now or database_now()
    workspace = launching(now=now, **fields)
    running = Observation(state=BackendState.RUNNING, url="http://127.0.0.1:4000")
    enter_booting(workspace_id=workspace.pk, launch_id=workspace.launch_id, observation=running, now=now)
    return Workspace.objects.get(pk=workspace.pk)


def online(*, now=None, **fields):
    """A workspace whose agent registered."""
    now = now or database_now()
    workspace = booting(now=now, **fields)
    return bring_online(workspace, now=now)


def external(*, url="", now=None, **fields):
    """An external workspace: awaiting its agent, or online if it has a URL."""
    request = CreateRequest(**({"name": "external", "external": True, "url": url} | fields))
    return create(request, now=now or database_now()).workspace


def hibernated(*, now=None, **fields):
    """A workspace that was hibernated; its process is confirmed gone."""
    now = now or database_now()
    workspace = hibernate(workspace_id=online(now=now, **fields).pk, forced=False, now=now)
    confirm_stopped(launch_id=workspace.launch_id, now=now)
    return Workspace.objects.get(pk=workspace.pk)


def running_on(backend, workspace):
    """Start the workspace's current launch on a simulated backend. Return its key."""
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    backend.start(LaunchSpec(key=key, environment={}, config={}, token="t", start_timeout_seconds=1))
    return key


def failed(*, now=None, code=FailureCode.CRASHED, **fields):
    """A workspace whose launch failed."""
    now = now or database_now()
    workspace = booting(now=now, **fields)
    reason = FailureReason(
        code=code, source=FailureSource.BOOTSTRAP_WATCHER, message="It broke.", log_tail="last words"
    )
    return fail(workspace_id=workspace.pk, launch_id=workspace.launch_id, reason=reason, now=now)


def bring_online(
    workspace,
    *,
    now=None,
    verb=Verb.REGISTER,
    card=CARD,
):
    """Register the agent of the workspace's launch, or complete the boot with a heartbeat."""
    registration = Registration(url="http://localhost:9", agent_card=card) if verb == Verb.REGISTER else None
    return mark_online(
        workspace_id=workspace.pk,
        launch_id=workspace.launch_id,
        verb=verb,
        registration=registration,
        now=now or database_now(),
    )


def later(workspace, *, minutes):
    """Return the time this long after the workspace's current phase began."""
    assert workspace.phase_entered_at is not None
    return workspace.phase_entered_at + timedelta(minutes=minutes)
