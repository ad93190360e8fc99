"""The web server as it runs, as ASGI (`make up`) and as WSGI (production)."""

import io
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from devserver import children
from devserver.console import Console
from tests.journeys.stack import is_up
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until


@contextmanager
def web_server(environment, *, interface="asgi"):
    """Run a web server and give a client for it. `client.log` is what the server has written."""
    port, log = free_port(), io.StringIO()
    child = children.web(port=port, console=Console(log))
    child.environment = {**child.environment, **environment}
    if interface == "wsgi":
        # As in docs/how-to/deploy.md, but one process.
        child.command = ["wsgi" if part == "asginl" else part for part in child.command]
        child.command[-1:] = ["--blocking-threads", "4", "config.wsgi:application"]
        child.environment["DATABASE_POOL_SIZE"] = "0"
    child.spawn()
    try:
        wait_until(lambda: is_up(port), describe=log.getvalue)
        limits = httpx.Limits(max_connections=200)
        base_url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base_url, timeout=PATIENCE_SECONDS, limits=limits, trust_env=False) as client:
            client.log = log
            yield client
    finally:
        child.kill()


@pytest.fixture
def serve_web(child_environment):
    """Start web servers with the variables that a test needs."""
    with ExitStack() as running:

        def start(interface="asgi", **variables):
            return running.enter_context(web_server({**child_environment, **variables}, interface=interface))

        yield start
