"""A host's clock that is an hour wrong, in beat, worker or web, fails no workspace and stops no sweep."""

from datetime import timedelta

import httpx
import pytest

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.journeys.stack import kill_agent_of, processes_of, status_of, wait_for_result
from tests.journeys.test_main_job import create_workspace
from tests.left_out import FAKETIME
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting, config_for, later, online
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode, FailureSource, WorkspaceStatus
from workspaces.models import BackendKind, Launch, SweepRun, Workspace
from workspaces.services.launching.restart import restart

pytestmark = [pytest.mark.journey, pytest.mark.faketime, pytest.mark.django_db(transaction=True)]


OFFSETS = pytest.mark.parametrize("offset", ["+1h", "-1h"])
# The agents' processes have the clock of the host that launches them.
INHERITED = "PATH,LANG,LD_PRELOAD,FAKETIME"
SLOW = "runtime_config: {boot: [{step: wait, run: sleep 500}]}\n"


def set_clock(stack, parts, offset):
    """Give these children a wrong clock once they are started."""
    for part in parts:
        child = stack.children[part]
        faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "AGENT_PASSTHROUGH_ENV": INHERITED}
        child.environment = {**child.environment, **faked}


@OFFSETS
@pytest.mark.parametrize("part", ["beat", "sweep", "web"])
def test_a_clock_that_is_an_hour_wrong_fails_no_workspace(stack, part, offset):
    set_clock(stack, [part], offset)
    now = database_now()
    healthy, up, arriving = booting(name="healthy"), online(name="up"), booting(name="arriving")
    # Any sweep finds this workspace. By the database's clock, the deadlines of the others are in the future.
    late = booting(name="late", now=later(healthy, minutes=-11))
    # External, because nothing runs here and the watcher would notice.
    Workspace.objects.update(backend=BackendKind.EXTERNAL)
    Launch.objects.update(backend=BackendKind.EXTERNAL)
    stack.start("web", "sweep", "beat")
    assert wait_for_result(late).failure_code == FailureCode.TIMED_OUT
    agent = AgentCaller(arriving)
    address, own = f"http://127.0.0.1:{stack.port}/registry", {"workspace_id": str(arriving.pk)}
    with httpx.Client(headers=agent.headers, timeout=PATIENCE_SECONDS) as client:
        client.post(f"{address}/register", json={"id": str(arriving.pk), "url": "http://localhost:9", "agent_card": {}})
        assert client.post(f"{address}/heartbeat", json=own).status_code == 200
    seen = database_now()
    wait_until(lambda: SweepRun.objects.filter(ran_at__gt=seen).exists())
    assert status_of(healthy) == WorkspaceStatus.PROVISIONING
    assert status_of(up) == status_of(arriving) == WorkspaceStatus.ONLINE
    assert abs(SweepRun.objects.latest("ran_at").ran_at - database_now()) < timedelta(minutes=30)
    assert now < seen


@OFFSETS
@pytest.mark.parametrize("parts", ["launch", "web beat sweep launch relay"])
def test_launches_work_on_a_host_whose_clock_is_an_hour_wrong(stack, parts, offset):
    set_clock(stack, parts.split(), offset)
    stack.start("web", "sweep", "beat", "launch", "stop", "relay")
    began = database_now()
    up, slow, dying = (
        create_workspace(config_for("echo")),
        create_workspace(config_for("echo", SLOW)),
        create_workspace(config_for("echo", SLOW)),
    )
    assert wait_for_result(up).status == WorkspaceStatus.ONLINE
    # A crash fails the launch at once, whatever the clock says.
    wait_until(lambda: Workspace.objects.filter(pk=dying.pk, progress_step="wait").exists())
    kill_agent_of(dying)
    dead = wait_for_result(dying)
    assert (dead.failure_code, dead.failure_source) == (FailureCode.CRASHED, FailureSource.BOOTSTRAP_WATCHER)
    again = restart(workspace_id=up.pk, now=database_now()).workspace
    tasks.enqueue_launches(again.backend, now=database_now())
    relaunched = wait_for_result(up)
    assert relaunched.status == WorkspaceStatus.ONLINE, relaunched.failure_message
    assert list(processes_of(up)) == [str(again.launch_id)]
    _assert_no_other_transitions(up, slow)
    _assert_times_are_the_databases(began)


def _assert_no_other_transitions(up, slow):
    """Check that a few more sweeps leave each workspace in the status that its agent reached."""
    for _ in range(3):
        seen = database_now()
        wait_until(lambda since=seen: SweepRun.objects.filter(ran_at__gt=since).exists())
    assert (status_of(slow), status_of(up)) == (WorkspaceStatus.PROVISIONING, WorkspaceStatus.ONLINE)
    moves = Event.objects.filter(is_move=True).exclude(event_type=EventType.WORKSPACE_PROVISIONING)
    assert list(moves.filter(workspace_id=slow.pk)) == []
    event_types = moves.filter(workspace_id=up.pk).values_list("event_type", flat=True)
    assert list(event_types) == [EventType.WORKSPACE_ONLINE] * 2


def _assert_times_are_the_databases(began):
    now = database_now()
    for launch in Launch.objects.all():
        times = [launch.queued_at, launch.launching_at, launch.booting_at, launch.ended_at, launch.torn_down_at]
        known = [at for at in times if at is not None]
        assert all(began <= at <= now for at in known), f"{launch.workspace}: {known}, between {began} and {now}"
    for row in Workspace.objects.provisioning():
        assert row.deadline_at is not None
        assert now < row.deadline_at <= now + timedelta(minutes=10)
