"""Pause and remove stop an agent that clears its environment, calls setsid and forks twice."""

import sys

import pytest
from django.conf import settings

from postgres.clock import database_now
from tests.waiting import wait_until
from tests.workspaces.factories import config_for, queued
from tests.workspaces.provisioners.process.test_containment import ESCAPE, runs
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.launching import launch
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.teardown import tear_down

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["own", "none"], autouse=True)
def agent_cgroup(request, settings):
    settings.AGENT_CGROUP = request.param
    get_provisioner.cache_clear()
    yield
    get_provisioner.cache_clear()


@pytest.fixture
def escaped():
    """An online workspace, and the ID of the process that escaped from its agent."""
    command = f"runtime_config: {{command: [{sys.executable}, {ESCAPE}, escaped, deaf]}}\n"
    workspace = queued(config=config_for("echo", command))
    launch.launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    path = settings.DATA_DIR / "workspaces" / str(workspace.pk) / "work" / "escaped"
    wait_until(path.exists)
    set_status(workspace, WorkspaceStatus.ONLINE)
    pid = int(path.read_text())
    assert runs(pid)
    yield workspace, pid
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    get_provisioner("process").stop(key, timeout_seconds=1)


def stop_by_pause(workspace):
    pause(workspace_id=workspace.pk, now=database_now())


def stop_by_removal(workspace):
    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())


@pytest.mark.parametrize("stop", [stop_by_pause, stop_by_removal])
def test_an_escaped_process_is_stopped_with_its_workspace(escaped, stop):
    workspace, pid = escaped
    stop(workspace)
    assert tear_down(launch_id=workspace.launch_id, now=database_now(), stop_seconds=1)
    assert not runs(pid)
