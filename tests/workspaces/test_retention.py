"""What is deleted when it is old, and what is kept."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from events import relay
from events.models import Delivery, DeliveryState, Event
from events.names import EventType
from postgres.clock import database_now
from tests.events.channels.factories import webhook
from tests.events.conftest import online as online_event
from tests.events.conftest import publish
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting, external, online
from workspaces import retention, tasks
from workspaces.configuration.effective import EffectiveConfiguration, store
from workspaces.models import AgentToken, Configuration, Incident, Launch, Usage, Workspace
from workspaces.models.incidents import IncidentKind
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.remove import delete_files, remove
from workspaces.services.stopping.teardown import confirm_stopped

pytestmark = pytest.mark.django_db(transaction=True)


def long_ago(*, days=1000):
    return database_now() - timedelta(days=days)


def prune(*arguments):
    output = StringIO()
    call_command("prune", *arguments, stdout=output)
    lines = [re.match(r"(\d+) (.+?) (older than|of no more use)", line) for line in output.getvalue().splitlines()]
    return {line[2]: int(line[1]) for line in lines}


def age_events(**filters):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_event DISABLE TRIGGER event_keeps_what_it_says")
        Event.objects.filter(**filters).update(created_at=long_ago())
        cursor.execute("ALTER TABLE events_event ENABLE TRIGGER event_keeps_what_it_says")


def restarted(*, stopped_at):
    """Return a workspace and its first launch, which was stopped at a time."""
    workspace = online()
    first = workspace.launch_id
    restart(workspace_id=workspace.pk, now=database_now())
    confirm_stopped(launch_id=first, now=stopped_at)
    return workspace, first


def removed(workspace, *, at):
    """Remove a workspace with its descendants, confirm that all is stopped and delete its files."""
    remove(workspace_id=workspace.pk, confirmed=True, now=database_now())
    for launch in Launch.objects.not_torn_down():
        confirm_stopped(launch_id=launch.pk, now=database_now())
    assert delete_files(now=at)
    return workspace


def test_launches_and_tokens_are_deleted_when_they_are_old_but_never_the_current_ones(fake):
    _, old = restarted(stopped_at=long_ago())
    _, young = restarted(stopped_at=long_ago(days=179))
    current = external()
    Launch.objects.filter(pk=current.launch_id).update(torn_down_at=long_ago())
    assert prune("--dry-run")["launches"] == 1
    assert Launch.objects.filter(pk=old).exists()
    assert prune()["launches"] == 1
    kept = set(Launch.objects.values_list("pk", flat=True))
    latest = set(Workspace.objects.values_list("launch_id", flat=True))
    assert kept == latest | {young}
    assert not AgentToken.objects.filter(launch_id=old).exists()


def test_a_removed_tree_is_deleted_leaves_first_and_what_is_not_removed_stays(fake):
    root = online(name="root")
    online(name="child", parent_id=root.pk)
    removed(root, at=long_ago())
    recent = removed(online(name="recent"), at=long_ago(days=89))
    living = booting(name="living")
    assert prune()["removed workspaces"] == 2
    assert set(Workspace.objects.values_list("pk", flat=True)) == {recent.pk, living.pk}
    assert set(Launch.objects.values_list("workspace_id", flat=True)) == {recent.pk, living.pk}


def test_verify_log_finds_no_difference_after_all_that_is_old_is_deleted(fake):
    living, gone = online(name="for years"), online(name="removed")
    removed(gone, at=long_ago())
    relay.number_all()
    age_events()
    assert prune()["events"] > 0
    assert list(Event.objects.values_list("workspace_id", "event_type")) == [(living.pk, EventType.WORKSPACE_ONLINE)]
    output = StringIO()
    call_command("verify_log", stdout=output)
    assert "no difference" in output.getvalue()


def test_finished_deliveries_go_before_their_events_and_waiting_ones_stay(fake):
    webhook("http://127.0.0.1:9/")
    delivered, dead, waiting = publish(online_event(), online_event(), online_event())
    settled = {"settled_at": long_ago(days=31)}
    Delivery.objects.filter(event=delivered).update(state=DeliveryState.DELIVERED, **settled)
    Delivery.objects.filter(event=dead).update(state=DeliveryState.DEAD, **settled)
    assert prune()["deliveries"] == 2
    assert list(Delivery.objects.values_list("event_id", flat=True)) == [waiting.pk]
    assert Event.objects.count() == 3


def test_resolved_incidents_the_admin_log_and_expired_sessions_are_deleted():
    for resolved_at in (long_ago(), long_ago(days=364), None):
        Incident.objects.create(kind=IncidentKind.MASS_LATENESS, opened_at=long_ago(), resolved_at=resolved_at, count=5)
    user = get_user_model().objects.create_user("ann")
    for action_time in (long_ago(), long_ago(days=364)):
        LogEntry.objects.create(user=user, action_time=action_time, object_repr="x", action_flag=1)
    for key, days in (("expired", 1), ("valid", -1)):
        Session.objects.create(session_key=key, expire_date=long_ago(days=days))
    deleted = prune()
    assert [deleted[name] for name in ("incidents", "entries of the admin's log", "sessions")] == [1, 1, 1]
    assert [Incident.objects.count(), LogEntry.objects.count(), Session.objects.count()] == [2, 1, 1]
    assert Incident.objects.filter(resolved_at=None).exists()


def test_usage_is_deleted_by_day_and_goes_with_its_workspace(fake):
    workspace, gone = online(), online()
    # Not the day before it is due: a day may end meanwhile.
    old, young, of_gone = (long_ago(days=days).date() for days in (500, 390, 1))
    for each, day in ((workspace, old), (workspace, young), (gone, of_gone)):
        Usage.objects.create(workspace=each, day=day, input_tokens=1, output_tokens=1, total_calls=1)
    removed(gone, at=long_ago())
    assert prune()["days of usage"] == 1
    (kept,) = Usage.objects.all()
    assert (kept.workspace_id, kept.day) == (workspace.pk, young)


def test_zero_days_keep_for_ever(settings, fake):
    settings.RETENTION_LAUNCHES_DAYS = 0
    _, old = restarted(stopped_at=long_ago())
    assert "launches" not in prune()
    assert Launch.objects.filter(pk=old).exists()


def test_a_rule_that_fails_stops_no_other_and_the_command_says_so(monkeypatch, fake):
    restarted(stopped_at=long_ago())

    def broken(before):
        raise RecursionError("too deep")

    broken_rule = replace(retention.RULES[0], delete=broken)
    monkeypatch.setattr(retention, "RULES", (broken_rule, *retention.RULES[1:]))
    output, errors = StringIO(), StringIO()
    with pytest.raises(CommandError) as failure:
        call_command("prune", stdout=output, stderr=errors)
    assert failure.value.returncode == 1
    assert "RecursionError: too deep" in errors.getvalue()
    assert "1 launches older than 180 days deleted" in output.getvalue()
    assert Launch.objects.count() == 1


def test_the_task_deletes_for_a_short_time_only_and_the_next_one_goes_on(monkeypatch, fake):
    deleted = []

    def slow(before):
        time.sleep(0.02)
        deleted.append(before)
        return 1

    endless = replace(retention.RULES[0], delete=slow)
    monkeypatch.setattr(retention, "RULES", (endless, *retention.RULES[1:]))
    monkeypatch.setattr(tasks, "PRUNE_SECONDS", len(retention.RULES) * 1.0)
    _, old = restarted(stopped_at=long_ago())
    tasks.prune()
    assert deleted
    assert not Launch.objects.filter(pk=old).exists()


def is_waited_for(table):
    """Return whether somebody waits for a lock of the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE relation = %s::regclass AND NOT granted AND datname = current_database()",
            [table],
        )
        return cursor.fetchone() is not None


def test_a_configuration_goes_with_its_last_launch_and_never_while_a_launch_stores_it(fake):
    used, unused = (store(EffectiveConfiguration(text=text)) for text in ("used", "unused"))
    workspace = online()
    Launch.objects.filter(pk=workspace.launch_id).update(configuration=used)
    assert prune()["configurations"] == 1
    assert list(Configuration.objects.all()) == [used]
    stored = threading.Event()

    def launch():
        with transaction.atomic():
            again = store(EffectiveConfiguration(text="unused"))
            stored.set()
            wait_until(lambda: is_waited_for(Configuration._meta.db_table))
            Launch.objects.filter(pk=workspace.launch_id).update(configuration=again)
        connection.close()

    store(EffectiveConfiguration(text="unused"))
    thread = threading.Thread(target=launch)
    thread.start()
    assert stored.wait(PATIENCE_SECONDS)
    prune()
    thread.join(PATIENCE_SECONDS)
    assert Launch.objects.get(pk=workspace.launch_id).configuration_id == unused.pk


def test_pruning_configurations_waits_for_no_launch_if_there_is_nothing_to_delete(fake):
    def delete():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        try:
            return retention.delete_configurations(database_now())
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as elsewhere:
        store(EffectiveConfiguration(text="of a launch that begins"))
        assert elsewhere.submit(delete).result() == 0


@pytest.mark.parametrize(
    ("users", "index"),
    [
        (Launch.objects.filter(configuration="0"), "launch_configuration"),
        (Workspace.objects.filter(kept_configuration="0"), "workspace_configuration"),
    ],
)
def test_an_index_tells_what_has_a_configuration(users, index, fake):
    online()
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        plan = users.order_by().explain()
        cursor.execute("RESET enable_seqscan")
    assert index in plan


def test_an_index_tells_which_events_are_old(fake):
    publish(*(online_event() for _ in range(50)))
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        plan = Event.objects.filter(created_at__lt=long_ago()).order_by().explain()
        cursor.execute("RESET enable_seqscan")
    assert "event_by_time" in plan
