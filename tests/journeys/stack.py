"""A whole Slipway on the test's own database: the very children of `make up`, that a test may kill one by one."""

import io
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from config import children
from config.console import Console
from workspaces.lifecycle import WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.provisioners.backends import backend
from workspaces.provisioners.base import LaunchKey

# Generous: the machine may be busy with other tests.
WAIT_SECONDS = 60.0


class Stack:
    """Starts and kills the children by their names: web, relay, beat, sweep, launch, deliver."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = io.StringIO()
        console = Console(self.log)
        pace = {"WATCH_INTERVAL_SECONDS": "1", "SWEEP_INTERVAL_SECONDS": "1", "HEARTBEAT_INTERVAL_SECONDS": "1"}
        self.environment = {**environment, **pace, "PLATFORM_URL": f"http://127.0.0.1:{self.port}", "COLUMNS": "300"}
        parts = [children.web(port=self.port, console=console), *children.workers(console=console)]
        parts += [children.beat(console=console), children.relay(console=console), children.deliver(console=console)]
        self.children = {child.name: child for child in parts}
        for child in parts:
            child.environment = {**child.environment, **self.environment}

    def configure(self, **variables: str) -> None:
        """Set variables of the children that are started from now on."""
        for child in self.children.values():
            child.environment = {**child.environment, **variables}

    def start(self, *names: str) -> None:
        for name in names or tuple(self.children):
            self.children[name].spawn()
        if not names or "web" in names:
            wait_until(lambda: is_up(self.port))

    def kill(self, name: str) -> None:
        """End a child and all its processes by SIGKILL, as a host that runs out of memory does."""
        self.children[name].kill()

    def stop(self) -> None:
        for child in self.children.values():
            child.kill()
        for launch in Launch.objects.filter(launching_at__isnull=False, backend="process"):
            backend("process").stop(LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk), timeout_seconds=1)

    def command(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a manage.py command as a user would."""
        return subprocess.run(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS * 2,
            check=False,
        )

    @property
    def output(self) -> str:
        return self.log.getvalue()


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(holds: Callable[[], Any], *, seconds: float = WAIT_SECONDS) -> Any:
    """Wait until the condition holds and return what it returned; fail by its name where it doesn't."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.05)
    return value


def status_of(workspace: Workspace) -> WorkspaceStatus:
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def settled(workspace: Workspace, *, seconds: float = WAIT_SECONDS) -> Workspace:
    """Wait until the workspace is no longer provisioning, and return it."""
    wait_until(lambda: status_of(workspace) != WorkspaceStatus.PROVISIONING, seconds=seconds)
    return Workspace.objects.get(pk=workspace.pk)


def processes_of(workspace: Workspace) -> dict[str, list[int]]:
    """Return the live processes of a workspace, by the launch whose id they carry: each that carries either id."""
    found: dict[str, list[int]] = {}
    launches = {str(pk).encode() for pk in workspace.launches.values_list("pk", flat=True)}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = dict(
                entry.split(b"=", 1) for entry in (folder / "environ").read_bytes().split(b"\0") if b"=" in entry
            )
        except OSError:
            continue
        is_its = environment.get(b"WORKSPACE_ID") == str(workspace.pk).encode()
        if is_its or environment.get(b"LAUNCH_ID") in launches:
            found.setdefault(environment.get(b"LAUNCH_ID", b"").decode(), []).append(int(folder.name))
    return found
