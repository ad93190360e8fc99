"""Launching on the process backend, with real processes. No server runs at PLATFORM_URL, so no agent can register."""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connection

from events.masking.masker import MASK
from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.launch_processes import processes_of
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import config_for, queued
from workspaces.lifecycle.transitions import FailureCode, FailureSource, Phase, WorkspaceStatus
from workspaces.models import AgentToken, Launch, LaunchOutcome, Workspace
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.launching import launch as launch_service
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.teardown import claim_due_teardowns, confirm_stopped, tear_down
from workspaces.services.watching.watch import watch_boots

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_SECONDS = PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def stop_launches():
    yield
    for launch in Launch.objects.exclude(launching_at=None):
        get_provisioner("process").stop(key(launch), timeout_seconds=2)
        assert not running(launch.pk)


def key(launch):
    return LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)


def running(launch_id):
    """Return the pids of the launch's processes, the supervisor first."""
    return [process.pid for process in processes_of(launch_id)]


def launch(workspace):
    launch_service.launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
    workspace.refresh_from_db()
    return workspace


def booting(extra="", **fields):
    return launch(queued(config=config_for("echo", extra), **fields))


def until_failed(workspace):
    """Run the watcher until it fails the workspace, or until the time is up."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end and workspace.pk not in watch_boots(clock=database_now):
        time.sleep(0.05)
    workspace.refresh_from_db()
    return workspace


def failure_event(workspace):
    return Event.objects.get(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_PROVISION_FAILED)


def test_a_launch_ends_booting_with_a_process_and_a_deadline():
    workspace = booting()
    assert (workspace.status, workspace.phase) == (WorkspaceStatus.PROVISIONING, Phase.BOOTING)
    assert workspace.url.startswith("http://127.0.0.1:")
    assert (workspace.deadline_at - workspace.phase_entered_at).total_seconds() == 600
    assert running(workspace.launch_id)
    history = Launch.objects.get(pk=workspace.launch_id)
    assert history.queued_at <= history.launching_at <= history.booting_at


def test_launching_twice_starts_one_process():
    workspace = booting()
    supervisors = running(workspace.launch_id)
    launch(workspace)
    assert running(workspace.launch_id)[:1] == supervisors[:1]
    assert Launch.objects.filter(workspace=workspace).count() == 1
    assert AgentToken.objects.filter(workspace=workspace).count() == 1


def test_a_missing_name_is_readable_unless_it_equals_a_secret():
    secrets = {"PART": "TOKEN-of-ours", "WHOLE": "HUB_PASSWORD"}
    workspace = booting("env: {required: [OTHER_TOKEN, HUB_PASSWORD]}\n", secrets=secrets)
    assert failure_event(workspace).payload["missing"] == ["OTHER_TOKEN", MASK]


def test_a_missing_variable_fails_before_anything_is_launched():
    workspace = booting("env: {required: [ONE_KEY, OTHER_KEY]}\n")
    assert (workspace.failure_code, workspace.failure_source) == (FailureCode.MISSING_ENV, FailureSource.PREFLIGHT)
    assert failure_event(workspace).payload["missing"] == ["ONE_KEY", "OTHER_KEY"]
    assert not running(workspace.launch_id)
    history = Launch.objects.get(pk=workspace.launch_id)
    assert (history.outcome, history.launching_at) == (LaunchOutcome.FAILED, None)
    assert history.torn_down_at is not None


def test_a_bad_stored_config_fails_with_its_line():
    workspace = queued()
    Workspace.objects.filter(pk=workspace.pk).update(config="runtime_config:\n  required_env: 5\n")
    assert launch(workspace).failure_code == FailureCode.BAD_CONFIG
    assert "line 2" in workspace.failure_message


def test_a_missing_template_fails_the_launch_and_is_named():
    workspace = queued()
    Workspace.objects.filter(pk=workspace.pk).update(config="", template="gone")
    assert launch(workspace).failure_code == FailureCode.BAD_CONFIG
    assert "gone" in workspace.failure_message


def test_a_boot_step_that_exits_with_3_fails_the_launch_with_the_end_of_its_log():
    workspace = until_failed(booting("runtime_config: {boot: [{step: install, run: 'echo on-the-way-out; exit 3'}]}\n"))
    assert (workspace.failure_code, workspace.failure_source) == (FailureCode.CRASHED, "bootstrap_watcher")
    assert "exited with status 3" in workspace.failure_message
    assert "on-the-way-out" in workspace.failure_log_tail
    assert "on-the-way-out" in failure_event(workspace).payload["log_tail"]


def test_an_agent_killed_while_booting_fails_the_launch_and_the_signal_is_named():
    workspace = booting("runtime_config: {boot: [{step: wait, run: 'sleep 30'}]}\n")
    for pid in running(workspace.launch_id)[1:]:
        # The supervisor may have ended it already.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert until_failed(workspace).failure_code == FailureCode.CRASHED
    assert "killed by signal 9" in workspace.failure_message


def test_a_poisoned_boot_log_leaves_no_secret():
    script = "{step: leak, run: 'echo $MY_KEY; echo $WORKSPACE_TOKEN; env; exit 1'}"
    workspace = until_failed(booting(f"runtime_config: {{boot: [{script}]}}\n", secrets={"MY_KEY": "sk-very-secret"}))
    assert "MY_KEY=" in workspace.failure_log_tail
    shown = str(failure_event(workspace).payload) + workspace.failure_log_tail + workspace.failure_message
    assert "sk-very-secret" not in shown
    line = next(line for line in workspace.failure_log_tail.splitlines() if "WORKSPACE_TOKEN=" in line)
    assert line.partition("=")[2].strip("•") == ""


def test_a_crashed_launch_is_due_for_teardown_at_once():
    workspace = until_failed(booting("runtime_config: {boot: [{step: x, run: 'setsid sleep 600 & exit 3'}]}\n"))
    now = database_now()
    assert claim_due_teardowns(now=now) == [workspace.launch_id]
    assert claim_due_teardowns(now=now) == []
    assert tear_down(launch_id=workspace.launch_id, now=database_now())
    assert not running(workspace.launch_id)
    assert Launch.objects.get(pk=workspace.launch_id).torn_down_at is not None


def test_a_restart_stops_the_earlier_launch_before_it_starts_the_next():
    workspace = booting()
    earlier = workspace.launch_id
    again = launch(restart(workspace_id=workspace.pk, now=database_now()).workspace)
    assert again.launch_id != earlier
    assert not running(earlier)
    assert running(again.launch_id)
    assert Launch.objects.get(pk=earlier).torn_down_at is not None


def test_a_restart_fails_until_an_earlier_launch_in_an_unknown_state_is_declared_gone():
    workspace = booting()
    earlier = Launch.objects.get(pk=workspace.launch_id)
    get_provisioner("process").stop(key(earlier), timeout_seconds=WAIT_SECONDS)
    folder = Path(str(get_provisioner("process")._root)) / ".records" / str(workspace.pk) / str(earlier.pk)
    (folder / "exit.json").unlink()
    record = json.loads((folder / "process.json").read_text())
    record["host"] |= {"hostname": "elsewhere", "boot_id": "another"}
    (folder / "process.json").write_text(json.dumps(record))
    again = launch(restart(workspace_id=workspace.pk, now=database_now()).workspace)
    assert (again.failure_code, again.failure_source) == (FailureCode.LAUNCH_ERROR, FailureSource.LAUNCHER)
    assert str(earlier.pk) in again.failure_message
    assert not running(again.launch_id)
    assert confirm_stopped(launch_id=earlier.pk, now=database_now())
    assert launch(restart(workspace_id=workspace.pk, now=database_now()).workspace).phase == Phase.BOOTING


def test_a_workspace_removed_while_its_worker_sleeps_never_starts(monkeypatch):
    workspace = queued()
    prepared, removed = threading.Event(), threading.Event()
    stop_earlier = launch_service._stop_earlier_launches

    def stop_then_sleep(*arguments):
        stop_earlier(*arguments)
        prepared.set()
        assert removed.wait(WAIT_SECONDS)

    monkeypatch.setattr(launch_service, "_stop_earlier_launches", stop_then_sleep)

    def work():
        launch(Workspace.objects.get(pk=workspace.pk))
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    assert prepared.wait(WAIT_SECONDS)
    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
    # A stop that comes before the start prevents it, whatever the launch worker does next.
    get_provisioner("process").stop(
        LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id), timeout_seconds=1
    )
    removed.set()
    worker.join(WAIT_SECONDS)
    workspace.refresh_from_db()
    assert workspace.status == WorkspaceStatus.REMOVED
    assert not running(workspace.launch_id)


def test_a_start_after_a_stop_is_refused():
    workspace = queued()
    at = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    get_provisioner("process").stop(at, timeout_seconds=1)
    assert launch(workspace).failure_code == FailureCode.LAUNCH_ERROR
    assert not running(workspace.launch_id)


def test_the_files_of_a_removed_workspace_are_deleted_with_its_teardown():
    workspace = booting()
    folder = get_provisioner("process")._root / str(workspace.pk)
    assert folder.exists()
    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
    assert tear_down(launch_id=workspace.launch_id, now=database_now())
    assert not folder.exists()


def test_a_start_whose_worker_died_is_adopted_by_the_watcher():
    workspace = booting()
    # As if the worker had been killed right after the backend started the launch.
    Workspace.objects.filter(pk=workspace.pk).update(phase=Phase.LAUNCHING, url="")
    assert watch_boots(clock=database_now) == []
    workspace.refresh_from_db()
    assert (workspace.phase, workspace.url[:17]) == (Phase.BOOTING, "http://127.0.0.1:")


def test_a_backend_that_cannot_write_fails_the_launch_with_its_reason(settings):
    workspace = queued()
    folder = settings.DATA_DIR / "workspaces"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(workspace.pk)).write_text("a file stands where the folder should be")
    assert launch(workspace).failure_code == FailureCode.LAUNCH_ERROR
    assert str(workspace.pk) in workspace.failure_message
    (folder / str(workspace.pk)).unlink()
