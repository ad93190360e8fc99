"""Pause and remove leave nothing of an agent that tries to get away, with each kind of containment."""

import sys

import pytest
from django.conf import settings

from postgres.clock import database_now
from tests.launch_processes import GETAWAYS, marked, new_mark
from tests.waiting import wait_until
from tests.workspaces.factories import config_for, queued
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.launching import launch
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.teardown import tear_down

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[(True, "own"), (False, "own"), (False, "none")], autouse=True)
def is_contained(request, settings):
    settings.AGENT_NAMESPACES, settings.AGENT_CGROUP = request.param
    get_provisioner.cache_clear()
    yield request.param != (False, "none")
    get_provisioner.cache_clear()


@pytest.fixture(params=["clears its environment", "is a daemon", "forks itself every 2 ms"])
def escaped(request):
    """An online workspace with such an agent, and the mark of what got away."""
    mark = new_mark()
    command = f"runtime_config: {{command: [{sys.executable}, {GETAWAYS}, {request.param}, '{mark}']}}\n"
    workspace = queued(config=config_for("echo", command))
    launch.launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    wait_until((settings.DATA_DIR / "workspaces" / str(workspace.pk) / "work" / "away").exists)
    set_status(workspace, WorkspaceStatus.ONLINE)
    assert marked(mark)
    yield workspace, mark
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    get_provisioner("process").stop(key, timeout_seconds=1)


def stop_by_pause(workspace):
    pause(workspace_id=workspace.pk, now=database_now())


def stop_by_removal(workspace):
    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())


@pytest.mark.parametrize("stop", [stop_by_pause, stop_by_removal])
def test_what_got_away_is_stopped_with_its_workspace(escaped, stop):
    workspace, mark = escaped
    stop(workspace)
    # As the reaper does: whatever can't be confirmed gone in time is stopped again.
    wait_until(lambda: tear_down(launch_id=workspace.launch_id, now=database_now(), stop_seconds=5))
    assert marked(mark) == 0


def test_the_page_of_a_workspace_says_whether_its_launch_is_contained(admin_client, is_contained):
    workspace = queued(config=config_for("echo"))
    launch.launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    page = admin_client.get(f"/admin/workspaces/workspace/{workspace.pk}/change/").content.decode()
    assert ("Not contained: this host allows neither" in page) != is_contained
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    get_provisioner("process").stop(key, timeout_seconds=1)
