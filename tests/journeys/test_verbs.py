"""Every operation through each interface, on real processes. A stopped process is gone; a new one has the old data."""

from datetime import timedelta

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.journeys.stack import kill_agent_of, processes_of, status_of, wait_for_result
from tests.journeys.test_main_job import create_workspace
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import config_for
from tests.workspaces.unguarded import unguarded
from workspaces import operations
from workspaces.access.api_keys import mint_api_key
from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Heartbeat, Workspace
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.registry import get_provisioner

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]
S = WorkspaceStatus
# Each boot writes a line to a file in the workspace's folder.
COUNTS_BOOTS = "runtime_config: {boot: [{step: remember, run: 'echo booted >> boots.txt'}], command: [sleep, '900']}\n"


def launch_and_wait(stack, config=COUNTS_BOOTS, **fields):
    workspace = wait_for_result(create_workspace(config_for("echo", config), **fields))
    assert workspace.status == S.ONLINE, workspace.failure_message + stack.output[-2000:]
    return workspace


def boots(workspace):
    """Return how often the workspace booted, by the file in its folder."""
    path = settings.DATA_DIR / "workspaces" / str(workspace.pk) / "work" / "boots.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def is_gone(workspace):
    return not processes_of(workspace)


def wait_for_status(workspace, status):
    wait_until(lambda: status_of(workspace) == status)


def wait_for_offline_event(workspace):
    """Wait until the workspace has been offline, even if it no longer is."""
    offline_events = Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_OFFLINE)
    wait_until(offline_events.exists)


class Interface:
    """An interface that calls each operation by its name."""

    def __init__(self, stack):
        self.stack = stack


class CommandInterface(Interface):
    def __call__(self, verb, workspace):
        result = self.stack.command(verb, workspace.name)
        assert result.returncode == 0, result.stdout + result.stderr


class ServiceInterface(Interface):
    def __call__(self, verb, workspace):
        keywords = {"cancel": {"by": "a service"}, "remove": {"confirm": True}}
        getattr(operations, verb)(workspace.pk, **keywords.get(verb, {}))


class HttpInterface(Interface):
    def __call__(self, verb, workspace):
        _, key = mint_api_key(name="script", scopes=["operate"])
        address = f"http://127.0.0.1:{self.stack.port}/workspaces/{workspace.pk}"
        headers = {"Authorization": f"Bearer {key}"}
        if verb == "remove":
            answer = httpx.delete(f"{address}?confirm=true", headers=headers, timeout=PATIENCE_SECONDS)
        else:
            answer = httpx.post(f"{address}/{verb}", headers=headers, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200, answer.text


class AdminInterface(Interface):
    def __call__(self, verb, workspace):
        client = Client()
        client.force_login(User.objects.get_or_create(username="operator", is_staff=True, is_superuser=True)[0])
        page = reverse("admin:workspaces_workspace_change", args=[workspace.pk])
        address = page.replace("/change/", f"/{verb}/")
        assert client.get(address).status_code == 200
        assert "refused" not in client.post(address, follow=True).content.decode()


@pytest.mark.parametrize("interface", [CommandInterface, ServiceInterface, HttpInterface, AdminInterface])
def test_every_verb_has_its_effect_on_the_process(stack, interface):
    stack.start()
    run, workspace = interface(stack), launch_and_wait(stack, name="w")

    run("pause", workspace)
    assert status_of(workspace) == S.PAUSED
    wait_until(lambda: is_gone(workspace))
    run("resume", workspace)
    assert (wait_for_result(workspace).status, boots(workspace)) == (S.ONLINE, 2)

    run("hibernate", workspace)
    wait_for_status(workspace, S.HIBERNATED)
    assert is_gone(workspace)
    run("wake", workspace)
    assert (wait_for_result(workspace).status, boots(workspace)) == (S.ONLINE, 3)

    run("restart", workspace)
    again = wait_for_result(workspace)
    assert (again.status, boots(workspace)) == (S.ONLINE, 4)
    assert list(processes_of(workspace)) == [str(again.launch_id)]

    waiting = create_workspace(
        config_for("echo", "runtime_config: {boot: [{step: wait, run: sleep 600}]}\n"), name="waiting"
    )
    wait_until(lambda: Workspace.objects.filter(pk=waiting.pk, progress_step="wait").exists())
    run("cancel", waiting)
    assert status_of(waiting) == S.FAILED
    wait_until(lambda: is_gone(waiting))

    run("remove", workspace)
    assert status_of(workspace) == S.REMOVED
    wait_until(lambda: is_gone(workspace))
    wait_until(lambda: not (settings.DATA_DIR / "workspaces" / str(workspace.pk)).exists())


def test_a_tree_is_paused_and_resumed_together(stack):
    stack.start("web", "sweep", "beat", "launch", "stop")
    parent = launch_and_wait(stack, name="parent")
    child = launch_and_wait(stack, name="child", parent_id=parent.pk)
    operations.pause(parent.pk)
    wait_until(lambda: is_gone(parent) and is_gone(child))
    operations.resume(parent.pk)
    assert (wait_for_result(parent).status, wait_for_result(child).status) == (S.ONLINE, S.ONLINE)
    assert (boots(parent), boots(child)) == (2, 2)


def test_an_idle_workspace_hibernates_by_itself_and_a_busy_one_does_not(stack):
    stack.start("web", "sweep", "beat", "launch", "stop")
    idle = launch_and_wait(stack, name="idle", hibernation_idle_minutes=1)
    busy = launch_and_wait(stack, name="busy", hibernation_idle_minutes=1)
    report_tasks(stack, busy, active_tasks=1)
    # The idle minute has passed, and heartbeats of both still arrive.
    Heartbeat.objects.filter(idle_since__isnull=False).update(idle_since=database_now() - timedelta(minutes=2))
    wait_for_status(idle, S.HIBERNATED)
    assert is_gone(idle)
    report_tasks(stack, busy, active_tasks=1)
    assert Heartbeat.objects.get(pk=busy.pk).idle_since is None
    assert (status_of(busy), is_gone(busy)) == (S.ONLINE, False)


def test_a_discovery_request_wakes_a_hibernated_workspace(stack):
    stack.start("web", "sweep", "beat", "launch", "stop")
    asleep, caller = launch_and_wait(stack, name="asleep"), launch_and_wait(stack, name="caller")
    operations.hibernate(asleep.pk)
    wait_for_status(asleep, S.HIBERNATED)
    headers = {**bearer(caller), "X-Workspace-ID": str(caller.pk)}
    address = f"http://127.0.0.1:{stack.port}/registry/discover/{asleep.pk}"
    answer = httpx.get(address, headers=headers, timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert wait_for_result(asleep).status == S.ONLINE
    assert (
        httpx.get(address, headers=headers, timeout=PATIENCE_SECONDS).json()["url"]
        == Workspace.objects.get(pk=asleep.pk).url
    )


def test_a_workspace_whose_process_was_killed_is_restarted_by_its_policy(stack):
    stack.start("web", "sweep", "beat", "launch", "stop")
    workspace = launch_and_wait(stack)
    kill_agent_of(workspace)
    wait_for_offline_event(workspace)
    # Unless that was done already.
    Workspace.objects.filter(pk=workspace.pk, restart_due_at__isnull=False).update(restart_due_at=database_now())
    again = wait_until(lambda: Workspace.objects.filter(pk=workspace.pk, status=S.ONLINE).first())
    assert (again.restart_attempts, boots(workspace)) == (1, 2)
    assert list(processes_of(workspace)) == [str(again.launch_id)]
    offline = Event.objects.get(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_OFFLINE).payload
    assert offline["exit_code"] == -9
    restarted = Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_PROVISIONING).latest(
        "id"
    )
    assert (restarted.payload["restart"]["attempt"], "signal 9" in restarted.payload["restart"]["reason"]) == (1, True)


def test_a_process_without_a_row_is_reaped(stack):
    stack.start("web", "sweep", "beat", "launch", "stop")
    workspace = launch_and_wait(stack)
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    try:
        # As after a restore of an older database.
        forget_launch(workspace)
        wait_until(lambda: is_gone(workspace))
    finally:
        get_provisioner("process").stop(key, timeout_seconds=1)


def forget_launch(workspace):
    with unguarded(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM workspaces_agenttoken WHERE workspace_id = %s", [workspace.pk])
        cursor.execute("DELETE FROM workspaces_launch WHERE workspace_id = %s", [workspace.pk])


def bearer(workspace):
    token = mint_agent_token(workspace)
    return {"Authorization": f"Bearer {token}"}


def report_tasks(stack, workspace, *, active_tasks):
    """Report tasks as the workspace's runtime does, beside the heartbeats of its agent."""
    body = {"workspace_id": str(workspace.pk), "active_tasks": active_tasks}
    address = f"http://127.0.0.1:{stack.port}/registry/heartbeat"
    assert httpx.post(address, json=body, headers=bearer(workspace), timeout=PATIENCE_SECONDS).status_code == 200
