"""A complete Slipway on the test's own database: the children of `make up`, which a test can kill one by one."""

import io
import os
import signal
import subprocess
import sys
from contextlib import suppress

import httpx
from django.conf import settings

from devserver import children
from devserver.console import Console
from tests import launch_processes, patched
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.registry import get_provisioner

# A log is divided on a busy machine, too.
PATIENT = patched.changes({"workspaces.provisioners.guarded_calls.LOG_SIZE_SECONDS": PATIENCE_SECONDS})


class Stack:
    """Starts and kills children by name: web, relay, beat, sweep, launch, stop, deliver."""

    def __init__(self, environment):
        self.port = free_port()
        self.log = io.StringIO()
        console = Console(self.log)
        pace = {"WATCH_INTERVAL_SECONDS": "1", "SWEEP_INTERVAL_SECONDS": "1", "HEARTBEAT_INTERVAL_SECONDS": "1"}
        address = {"PLATFORM_URL": f"http://127.0.0.1:{self.port}", "COLUMNS": "300"}
        self.environment = {**environment, **pace, **address, **PATIENT}
        parts = [children.web(port=self.port, console=console), *children.workers(console=console)]
        parts += [children.beat(console=console), children.relay(console=console), children.deliver(console=console)]
        self.children = {child.name: child for child in parts}
        self.children["web"].command[-1] = "tests.patched:asgi"
        for child in parts:
            child.environment = {**child.environment, **self.environment}

    def configure(self, *names, **variables):
        """Set variables for these children, or for all, if they are started from now on."""
        for name in names or tuple(self.children):
            child = self.children[name]
            child.environment = {**child.environment, **variables}

    def start(self, *names):
        for name in names or tuple(self.children):
            self.children[name].spawn()
        if not names or "web" in names:
            wait_until(lambda: is_up(self.port), describe=lambda: self.output[-4000:])

    def kill(self, name):
        """Send SIGKILL to a child and all its processes, as a host that runs out of memory does."""
        self.children[name].kill()

    def stop(self):
        """Stop all children and workspaces; a slow child doesn't delay the others."""
        for child in self.children.values():
            child.terminate()
        for child in self.children.values():
            child.kill()
        for launch in Launch.objects.filter(launching_at__isnull=False, backend="process"):
            get_provisioner("process").stop(
                LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk), timeout_seconds=1
            )

    def command(self, *arguments, **environment):
        """Run a manage.py command as a user would."""
        return subprocess.run(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS * 2,
            check=False,
        )

    @property
    def output(self):
        return self.log.getvalue()


def is_up(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def status_of(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def wait_for_result(workspace):
    """Wait until the workspace is no longer provisioning, and return it."""
    wait_until(lambda: status_of(workspace) != WorkspaceStatus.PROVISIONING)
    return Workspace.objects.get(pk=workspace.pk)


def kill_agent_of(workspace):
    """Kill the agent and all that it started. The supervisor stays and records the exit."""
    ((_, *others),) = processes_of(workspace).values()
    assert others
    for pid in others:
        # Where the agent has a pid namespace, the others end with it.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(workspace):
    """Return the pids of a workspace's processes by launch ID, of each launch the supervisor first."""
    found = {str(pk): launch_processes.processes_of(pk) for pk in workspace.launches.values_list("pk", flat=True)}
    return {launch_id: [process.pid for process in processes] for launch_id, processes in found.items() if processes}
