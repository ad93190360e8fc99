"""The main job on real processes: launch a workspace, and fail a stuck one with its reason."""

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta

import httpx
import pytest
from django.conf import settings
from django.db.models import Sum

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.journeys.stack import processes_of, status_of, wait_for_result
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.configuration.test_preflight import EXPECTED, REAL_CONFIGS
from tests.workspaces.factories import config_for
from workspaces import tasks
from workspaces.lifecycle.transitions import FailureCode, FailureSource, WorkspaceStatus
from workspaces.models import Launch, Workspace
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.remove import remove
from workspaces.services.watching.crash_recovery import restart_crashed
from workspaces.services.watching.watch import watch_online

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]

CONFIGS = {name: (REAL_CONFIGS / f"{name}.config.yaml").read_text() for name in EXPECTED}


def create_workspace(config="", **fields):
    workspace = create(CreateRequest(config=config, **fields), now=database_now()).workspace
    tasks.enqueue_launches(workspace.backend, now=database_now())
    return workspace


def test_a_workspace_goes_online_is_restarted_and_removed_with_no_process_left(stack):
    stack.start()
    launched = stack.command("launch", "echo", "--name", "first", "--wait")
    assert launched.returncode == 0, launched.stdout + launched.stderr
    workspace = Workspace.objects.get(name="first")
    assert workspace.status == WorkspaceStatus.ONLINE
    assert b"echo" in httpx.get(workspace.url, timeout=PATIENCE_SECONDS).content

    earlier = restart(workspace_id=workspace.pk, now=database_now()).workspace
    tasks.enqueue_launches(earlier.backend, now=database_now())
    assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE
    assert list(processes_of(workspace)) == [str(earlier.launch_id)]

    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
    tasks.enqueue_due_teardowns(now=database_now())
    wait_until(lambda: not processes_of(workspace))
    moves = Event.objects.filter(workspace_id=workspace.pk, is_move=True).order_by("version")
    assert [event.event_type for event in moves] == [
        EventType.WORKSPACE_PROVISIONING,
        EventType.WORKSPACE_ONLINE,
        EventType.WORKSPACE_PROVISIONING,
        EventType.WORKSPACE_ONLINE,
        EventType.WORKSPACE_REMOVED,
    ]
    wait_until(lambda: not Event.objects.filter(position__isnull=True).exists())


def test_each_real_config_names_its_required_variables_and_goes_online_with_them(stack, tmp_path):
    stack.start()
    manage = str(settings.BASE_DIR / "manage.py")

    def launch(name, *secrets):
        path = tmp_path / f"{name}.yaml"
        path.write_text(CONFIGS[name])
        command = [sys.executable, manage, "launch", "--config", str(path), "--wait", *secrets]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=stack.environment, **pipes)

    without = {name: launch(name) for name in CONFIGS}
    for name, process in without.items():
        output, _ = process.communicate(timeout=2 * PATIENCE_SECONDS)
        assert process.returncode == 1, output
        assert "Missing required environment variable" in output
        assert all(variable in output for variable in EXPECTED[name])
    failures = Event.objects.filter(event_type=EventType.WORKSPACE_PROVISION_FAILED)
    assert sorted(event.payload["missing"] for event in failures) == sorted(EXPECTED.values())

    set_up = {name: launch(name, *[f"--secret={key}=x" for key in EXPECTED[name]]) for name in CONFIGS}
    for process in set_up.values():
        output, _ = process.communicate(timeout=2 * PATIENCE_SECONDS)
        assert process.returncode == 0, output
    assert Workspace.objects.filter(status=WorkspaceStatus.ONLINE).count() == len(CONFIGS)
    # None of them names a command, so the agent registered alone, and its card says so.
    cards = Workspace.objects.filter(status=WorkspaceStatus.ONLINE).values_list("agent_card", flat=True)
    assert [card["has_runtime"] for card in cards] == [False] * len(CONFIGS)


def test_a_boot_step_that_exits_with_3_fails_the_launch_early_and_is_reported_everywhere(stack, tmp_path):
    stack.start()
    config = tmp_path / "config.yaml"
    config.write_text(config_for("echo", "runtime_config: {boot: [{step: install, run: 'echo last words; exit 3'}]}\n"))
    launched = stack.command("launch", "--config", str(config), "--name", "broken", "--wait")
    assert launched.returncode == 1
    workspace = Workspace.objects.get(name="broken")
    payload = Event.objects.get(event_type=EventType.WORKSPACE_PROVISION_FAILED).payload
    assert workspace.failure_code == payload["code"] == FailureCode.CRASHED
    assert "last words" in workspace.failure_log_tail
    assert "last words" in payload["log_tail"]
    for text in (launched.stdout + launched.stderr, payload["error"], workspace.failure_message):
        assert "status 3" in text
    # The deadline, ten minutes after the start, did not fail it.
    assert workspace.failure_source in {FailureSource.AGENT, FailureSource.BOOTSTRAP_WATCHER}
    wait_until(lambda: not processes_of(workspace))


def test_blocked_launch_slots_do_not_block_the_sweep(stack):
    stack.configure(AGENT_STOP_SECONDS="300")
    stack.start("web", "sweep", "beat", "launch")
    blocked = [create_workspace(config_for("echo")) for _ in range(settings.LAUNCH_SLOTS)]
    for workspace in blocked:
        assert wait_for_result(workspace).status == WorkspaceStatus.ONLINE
    # Frozen processes do not end on SIGTERM, so each restart holds its slot while it waits for the earlier launch.
    for pid in [pid for workspace in blocked for pids in processes_of(workspace).values() for pid in pids]:
        os.kill(pid, signal.SIGSTOP)
    for workspace in blocked:
        again = restart(workspace_id=workspace.pk, now=database_now()).workspace
        tasks.enqueue_launches(again.backend, now=database_now())
    # Each stop of an earlier launch holds a slot for 300 seconds.
    wait_until(lambda: Launch.objects.aggregate(begun=Sum("teardown_attempts"))["begun"] == settings.LAUNCH_SLOTS)
    waiting = create_workspace(config_for("echo"))
    # The queue has been stalled for ten minutes and the deadline has passed. The sweep, which runs every second here,
    # fails the waiting launch.
    Launch.objects.update(launching_at=database_now() - timedelta(minutes=11))
    Workspace.objects.filter(pk=waiting.pk).update(deadline_at=database_now())
    wait_until(lambda: status_of(waiting) == WorkspaceStatus.FAILED)
    assert Workspace.objects.get(pk=waiting.pk).failure_code == FailureCode.NEVER_LAUNCHED


def test_workspaces_lists_what_the_database_holds(stack):
    create_workspace(config_for("echo"), name="listed")
    listed = stack.command("workspaces", "--format", "json")
    assert [item["name"] for item in json.loads(listed.stdout)] == ["listed"]


DIES = """\
name: dies
runtime: echo
runtime_config:
  command: [sh, -c, "while [ -e {alive} ]; do sleep 0.1; done; echo the last words; exit 3"]
"""


def test_a_process_that_dies_soon_after_each_start_ends_as_a_crash_loop_given_up(stack, tmp_path):
    stack.start("web", "launch")
    alive = tmp_path / "alive"
    alive.touch()
    workspace = create(CreateRequest(config=DIES.format(alive=alive)), now=database_now()).workspace
    tasks.enqueue_launches(workspace.backend, now=database_now())
    for crash in range(1, 5):
        wait_until(lambda: status_of(workspace) == WorkspaceStatus.ONLINE)
        alive.unlink()
        wait_until(lambda: watch_online(clock=database_now))
        alive.touch()
        lost = Workspace.objects.get(pk=workspace.pk)
        assert (lost.status, lost.crash_loop.get("count", 1)) == (WorkspaceStatus.OFFLINE, crash)
        # The test doesn't wait for the delay.
        Workspace.objects.filter(pk=lost.pk, restart_due_at__isnull=False).update(restart_due_at=database_now())
        for restarted in restart_crashed(now=database_now()):
            tasks.enqueue_launches(restarted.backend, now=database_now())
    assert (lost.status, lost.failure_code, lost.restart_due_at) == (WorkspaceStatus.OFFLINE, "crash_loop", None)
    assert "the last words" in lost.failure_log_tail
    assert "exited with status 3" in lost.failure_message
    assert "its restart policy gave up: it was restarted 3 times already" in lost.failure_message
    offline = Event.objects.filter(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_OFFLINE).order_by("id")
    gave_up = [event.payload.get("crash_loop", {}).get("gave_up") for event in offline]
    assert gave_up == [None, False, False, True]
