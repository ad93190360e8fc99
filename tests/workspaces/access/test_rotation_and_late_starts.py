"""Rotated values stay masked, and late starts change nothing that they must not."""

from datetime import timedelta

import pytest
from celery import Celery
from django.db import transaction

from postgres import encryption
from postgres.clock import database_now
from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, later, launching, online, queued, running_on
from workspaces import enqueue
from workspaces.access import secrets
from workspaces.access.masking import masker_of, masker_of_log
from workspaces.deadlines.policy import Policy
from workspaces.models import ApiScope, Launch, RetiredSecret, Secret, Workspace
from workspaces.operations import pause, restart
from workspaces.provisioners.base import BackendState, Observation
from workspaces.services.launching.launch import enter_booting
from workspaces.services.stopping.remove import remove
from workspaces.services.stopping.teardown import tear_down
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)
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


def retired_values():
    return [encryption.decrypt(row.ciphertext) for row in RetiredSecret.objects.order_by("pk")]


def test_what_only_the_log_of_a_stopped_launch_can_hold_is_masked_in_logs_alone():
    """Each heartbeat would have to decrypt and look for all that was replaced while any workspace is paused."""
    secrets.put_secrets({"GLOBAL": "old-global-value"}, workspace_id=None)
    workspace = online(secrets={"OWN": "old-own-value"})
    secrets.put_secrets({"GLOBAL": "new-global-value"}, workspace_id=None)
    secrets.put_secrets({"OWN": "new-own-value"}, workspace_id=workspace.pk)
    secrets.delete_unused_retired_secrets()
    text = "old-own-value old-global-value"
    assert masker_of(workspace.pk).mask(text) == "•••••• ••••••"
    pause(workspace.pk)
    Launch.objects.filter(pk=workspace.launch_id).update(torn_down_at=database_now())
    assert secrets.delete_unused_retired_secrets() == 0
    known = secrets.readable_values({workspace.pk})
    assert known == {None: ["new-global-value"], workspace.pk: ["new-own-value"]}
    assert masker_of_log(workspace.pk).mask(text) == "•••••• ••••••"


def test_a_launch_that_comes_back_gets_its_replaced_values_masked_in_all_texts_again():
    """It was confirmed gone; then its start ended, or its backend listed its object again."""
    workspace = launching(secrets={"OWN": "old-own-value"})
    secrets.put_secrets({"OWN": "another one"}, workspace_id=workspace.pk)
    pause(workspace.pk)
    Launch.objects.filter(pk=workspace.launch_id).update(torn_down_at=database_now())
    secrets.delete_unused_retired_secrets()
    assert masker_of(workspace.pk).mask("old-own-value") == "old-own-value"
    running = Observation(state=BackendState.RUNNING)
    enter_booting(workspace_id=workspace.pk, launch_id=workspace.launch_id, observation=running, now=database_now())
    assert Launch.objects.get(pk=workspace.launch_id).torn_down_at is None
    secrets.delete_unused_retired_secrets()
    assert masker_of(workspace.pk).mask("old-own-value") == "••••••"


def test_a_value_that_is_set_again_is_not_retired_and_stays_masked_once_it_is_replaced():
    secrets.put_secrets({"GLOBAL": "first-value"}, workspace_id=None)
    running = booting()
    secrets.put_secrets({"GLOBAL": "first-value"}, workspace_id=None)
    assert Secret.objects.get().version == 2
    assert retired_values() == []
    secrets.put_secrets({"GLOBAL": "second-value"}, workspace_id=None)
    assert secrets.delete_unused_retired_secrets() == 0
    assert masker_of(running.pk).mask("first-value") == "••••••"


@pytest.mark.django_db(transaction=True)
def test_a_running_launch_keeps_the_value_that_it_has_and_none_of_those_that_followed(monkeypatch):
    monkeypatch.setattr(secrets, "MAX_RETIRED", 3)
    for number in range(2):
        secrets.put_secrets({"GLOBAL": f"value-{number}"}, workspace_id=None)
    running = booting()
    for number in range(2, 9):
        secrets.put_secrets({"GLOBAL": f"value-{number}"}, workspace_id=None)
        secrets.delete_unused_retired_secrets()
    assert retired_values() == ["value-1"]
    assert masker_of(running.pk).mask("value-1") == "••••••"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_value_stays_masked_for_a_launch_that_is_queued_before_its_replacement_is_committed(is_deleted):
    secrets.put_secrets({"GLOBAL": "old-global-value"}, workspace_id=None)
    with transaction.atomic():
        if is_deleted:
            secrets.delete_secrets(Secret.objects.all())
        else:
            secrets.put_secrets({"GLOBAL": "another one"}, workspace_id=None)
        # As if by another connection, which sees only what is committed.
        meanwhile = booting()
    afterwards = booting()
    secrets.delete_unused_retired_secrets()
    assert masker_of(meanwhile.pk).mask("old-global-value") == "••••••"
    Launch.objects.filter(pk=meanwhile.launch_id).update(torn_down_at=database_now())
    remove(workspace_id=meanwhile.pk, confirmed=True, now=database_now())
    secrets.delete_unused_retired_secrets()
    assert retired_values() == []
    assert masker_of(afterwards.pk).mask("old-global-value") == "old-global-value"


def test_of_each_name_only_the_newest_retired_values_are_kept(monkeypatch):
    monkeypatch.setattr(secrets, "MAX_RETIRED", 3)
    # It has not read its secrets yet, so it may get any of them.
    workspace = queued()
    for number in range(6):
        secrets.put_secrets({"A": f"global-a-{number}", "B": f"global-b-{number % 3}"}, workspace_id=None)
        secrets.put_secrets({"A": f"own-a-{number}"}, workspace_id=workspace.pk)
    assert secrets.delete_unused_retired_secrets() == 6
    kept = sorted(retired_values())
    assert kept == sorted(
        [f"{owner}-a-{number}" for owner in ("global", "own") for number in (2, 3, 4)]
        + [f"global-b-{number}" for number in (2, 0, 1)]
    )
    assert secrets.delete_unused_retired_secrets() == 0


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
