"""Rotated values stay masked, and late starts change nothing that they must not."""

from datetime import timedelta

import pytest
from celery import Celery

from postgres.clock import database_now
from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, later, launching, online, queued, running_on
from workspaces import enqueue
from workspaces.access import secrets
from workspaces.access.masking import masker_of
from workspaces.deadlines.policy import Policy
from workspaces.models import ApiScope, Launch, RetiredSecret, Secret, Workspace
from workspaces.operations import pause, restart
from workspaces.provisioners.base import BackendState, Observation
from workspaces.services.launching.launch import enter_booting
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.teardown import tear_down
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db


def test_a_replaced_or_deleted_value_stays_masked_while_a_launch_may_have_it():
    secrets.put_secrets({"GLOBAL": "old-global-value"}, workspace_id=None)
    running = booting(secrets={"OWN": "old-own-value"})
    secrets.put_secrets({"OWN": "new-own-value"}, workspace_id=running.pk)
    secrets.delete_secrets(Secret.objects.filter(workspace__isnull=True))
    assert secrets.read_environment(running.pk) == {"OWN": "new-own-value"}
    told = masker_of(running.pk).mask("old-own-value new-own-value old-global-value")
    assert "value" not in told
    assert secrets.delete_unused_retired_secrets() == 0

    # Its log is shown until the next launch begins.
    Launch.objects.filter(pk=running.launch_id).update(torn_down_at=database_now())
    assert secrets.delete_unused_retired_secrets() == 0
    restart(running.pk)
    assert secrets.delete_unused_retired_secrets() == 2
    assert not RetiredSecret.objects.exists()


def test_the_log_that_is_kept_of_a_stopped_launch_shows_no_value_that_was_replaced_later(fake):
    """The launch is confirmed stopped, and the reaper runs, before the secret is replaced and after it."""
    workspace, reader = online(secrets={"OWN": "old-own-value"}), holder(ApiScope.READ)
    fake.append_log(running_on(fake, workspace), "it starts with old-own-value\n")
    pause(workspace.pk)
    assert tear_down(launch_id=workspace.launch_id, now=database_now())
    secrets.put_secrets({"OWN": "new-own-value"}, workspace_id=workspace.pk)
    secrets.delete_unused_retired_secrets()
    for path in ("logs", "console"):
        text = reader.get(f"/workspaces/{workspace.pk}/{path}").content.decode()
        assert "it starts with ••••••" in text


def test_a_launch_of_another_workspace_keeps_only_old_global_values_masked():
    secrets.put_secrets({"GLOBAL": "old-global-value"}, workspace_id=None)
    own = queued(secrets={"OWN": "old-own-value"})
    booting()
    secrets.delete_secrets(Secret.objects.all())
    remove(workspace_id=own.pk, confirmed=True, now=database_now())
    Launch.objects.filter(pk=own.launch_id).update(torn_down_at=database_now())
    assert secrets.delete_unused_retired_secrets() == 1
    assert RetiredSecret.objects.get().workspace_id is None


def test_a_removed_workspace_refuses_secrets():
    removed = booting()
    remove(workspace_id=removed.pk, confirmed=True, now=database_now())
    with pytest.raises(secrets.InvalidSecret, match="removed"):
        secrets.put_secrets({"LATE": "value"}, workspace_id=removed.pk)
    assert not Secret.objects.exists()


@pytest.mark.parametrize("name", ["HOME", "WORKSPACE_MODEL", "HEARTBEAT_INTERVAL_SECONDS"])
def test_a_secret_that_slipway_would_overwrite_is_refused(name):
    with pytest.raises(secrets.InvalidSecret, match=name):
        secrets.put_secrets({name: "value"}, workspace_id=None)


def test_a_start_confirmed_after_the_sweep_keeps_its_grace_period_and_url():
    slow = launching()
    overdue = later(slow, minutes=3)
    sweep_stuck(now=overdue, policy=Policy())
    running = Observation(state=BackendState.RUNNING, url="http://127.0.0.1:4001")
    enter_booting(
        workspace_id=slow.pk, launch_id=slow.launch_id, observation=running, now=overdue + timedelta(seconds=1)
    )
    launch = Launch.objects.get(pk=slow.launch_id)
    assert launch.teardown_at is not None
    assert launch.teardown_at > overdue + timedelta(minutes=9)
    assert Workspace.objects.get(pk=slow.pk).url == "http://127.0.0.1:4001"


def test_only_the_first_of_many_messages_waits_for_an_unreachable_broker(monkeypatch, caplog):
    monkeypatch.setattr(enqueue, "_silent_until", 0.0)
    monkeypatch.setattr(enqueue, "PAUSE_SECONDS", PATIENCE_SECONDS)
    app = Celery("nobody-there", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.task_publish_retry = False

    @app.task(name="some.task")
    def task():
        """Never runs, because no worker takes it."""

    for _ in range(200):
        enqueue._send(task, {})
    assert caplog.messages == ["A task could not be queued; beat queues it again"]
