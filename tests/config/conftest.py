"""The web server as it runs, as ASGI (`make up`) and as WSGI (production)."""

import io
from contextlib import ExitStack, contextmanager

import httpx
import psutil
import pytest

from devserver import children
from devserver.console import Console
from tests import patched
from tests.journeys.stack import is_up
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until

# What a busy machine may take longer for than a server that is not under test may.
PATIENT = {"monitoring.readiness._TIMEOUT_SECONDS": PATIENCE_SECONDS}


@contextmanager
def web_server(environment, *, interface="asgi", workers=1):
    """Run a web server and give a client for it. `client.log` is what the server, `client.process`, has written."""
    port, log = free_port(), io.StringIO()
    child = children.web(port=port, console=Console(log))
    child.environment = {**child.environment, **environment}
    child.command[-1] = f"tests.patched:{interface}"
    child.command[child.command.index("--workers") + 1] = str(workers)
    if interface == "wsgi":
        # As in docs/how-to/deploy.md, but one process.
        child.command = ["wsgi" if part == "asginl" else part for part in child.command]
        child.command[-1:-1] = ["--blocking-threads", "4"]
        child.environment["DATABASE_POOL_SIZE"] = "0"
    child.spawn()
    try:
        wait_until(lambda: is_up(port), describe=log.getvalue)
        limits = httpx.Limits(max_connections=200)
        base_url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base_url, timeout=PATIENCE_SECONDS, limits=limits, trust_env=False) as client:
            client.log, client.process = log, psutil.Process(child.process.pid)
            yield client
    finally:
        child.kill()


@pytest.fixture
def serve_web(child_environment):
    """Start web servers with the variables, and the constants of the code, that a test needs."""
    with ExitStack() as running:

        def start(interface="asgi", *, constants=None, workers=1, **variables):
            changes = patched.changes({**PATIENT, **(constants or {})})
            environment = {**child_environment, **changes, **variables}
            return running.enter_context(web_server(environment, interface=interface, workers=workers))

        yield start
