"""The API over real connections, served as ASGI (`make up`) and as WSGI (production)."""

import io

import httpx
import pytest

from devserver import children
from devserver.console import Console
from tests.callers import AgentCaller
from tests.journeys.stack import is_up
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace

INTERFACES = {"asgi": "config.asgi:application", "wsgi": "config.wsgi:application"}


@pytest.fixture(params=sorted(INTERFACES))
def served(request, child_environment):
    port = free_port()
    child = children.web(port=port, console=Console(io.StringIO()))
    child.environment = {**child.environment, **child_environment}
    if request.param == "wsgi":
        child.command = ["wsgi" if part == "asginl" else part for part in child.command]
        child.command[-1] = INTERFACES["wsgi"]
    child.spawn()
    try:
        wait_until(lambda: is_up(port))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            yield client
    finally:
        child.kill()


def chunks(total):
    """A body without a Content-Length."""
    yield b'{"workspace_id": "'
    for _ in range(total // 65_536):
        yield b"x" * 65_536
    yield b'"}'


def test_boot_of_an_agent_over_real_connections(served):
    stuck = booting()
    agent = AgentCaller(stuck)
    served.headers = httpx.Headers(agent.headers)
    own = {"workspace_id": str(stuck.pk)}
    assert served.post("/registry/progress", json={**own, "step": "install"}).status_code == 200
    registered = served.post("/registry/register", json={"id": str(stuck.pk), "url": "", "agent_card": {}})
    assert (registered.status_code, registered.content) == (200, b'{"status":"registered"}')
    assert served.post("/registry/heartbeat", json=own).content == b'{"status":"ok"}'
    assert served.get(f"/workspaces/{stuck.pk}").json()["status"] == "online"
    assert Workspace.objects.get(pk=stuck.pk).status == WorkspaceStatus.ONLINE
    # A body that is too large or has no length gets an error message, and the connection stays open.
    for size in (1_100_000, 5_000_000):
        refused = served.post("/registry/heartbeat", content=b'{"workspace_id": "' + b"x" * size + b'"}')
        assert refused.status_code == 413
        assert refused.json()["code"] == "too_large"
    unannounced = served.post("/registry/heartbeat", content=chunks(5_000_000))
    assert unannounced.status_code in {400, 413}
    assert unannounced.json()["error"]
    assert served.post("/registry/heartbeat", json=own).status_code == 200
    assert served.get("/ready").status_code in {200, 503}
    assert served.get("/nonsense").json() == {"error": "There is nothing at this address.", "code": "not_found"}
    assert served.head("/health").status_code == 200
