"""A host's clock that is an hour wrong, in beat, worker or web: nobody is failed or lost for it, and sweeps go on."""

import httpx
import pytest

from tests.callers import AgentCaller
from tests.journeys.stack import Stack, settled, status_of
from tests.left_out import FAKETIME
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting, later, online
from workspaces.clock import database_now
from workspaces.lifecycle import FailureCode, WorkspaceStatus
from workspaces.models import BackendKind, Launch, SweepRun, Workspace

pytestmark = [pytest.mark.journey, pytest.mark.faketime, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
@pytest.mark.parametrize("part", ["beat", "sweep", "web"])
def test_a_clock_that_is_an_hour_wrong_flips_nobody(stack: Stack, part: str, offset: str) -> None:
    child = stack.children[part]
    faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset}
    child.environment = {**child.environment, **faked}
    now = database_now()
    healthy, up, arriving = booting(name="healthy"), online(name="up"), booting(name="arriving")
    # Each sweep that runs finds this one; the others' deadlines lie ahead by the database's clock.
    late = booting(name="late", now=later(healthy, minutes=-11))
    # Nothing of theirs runs here, and the watcher would say so.
    Workspace.objects.update(backend=BackendKind.EXTERNAL)
    Launch.objects.update(backend=BackendKind.EXTERNAL)
    stack.start("web", "sweep", "beat")
    assert settled(late).failure_code == FailureCode.TIMED_OUT
    agent = AgentCaller(arriving)
    address, own = f"http://127.0.0.1:{stack.port}/registry", {"workspace_id": str(arriving.pk)}
    with httpx.Client(headers=agent.headers, timeout=PATIENCE_SECONDS) as client:
        client.post(f"{address}/register", json={"id": str(arriving.pk), "url": "http://localhost:9", "agent_card": {}})
        assert client.post(f"{address}/heartbeat", json=own).status_code == 200
    seen = database_now()
    wait_until(lambda: SweepRun.objects.filter(ran_at__gt=seen).exists())
    assert status_of(healthy) == WorkspaceStatus.PROVISIONING
    assert status_of(up) == status_of(arriving) == WorkspaceStatus.ONLINE
    assert abs((SweepRun.objects.latest("ran_at").ran_at - database_now()).total_seconds()) < 60
    assert now < seen
