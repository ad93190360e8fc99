"""The relay on several real connections: late commits, several relays at once, relays that are killed."""

import signal
import threading
from contextlib import closing
from itertools import takewhile
from uuid import uuid4

import psycopg
import pytest
from django.db import connection, transaction

from events import outbox, relay
from events.delivery.claims import DELIVERIES_CHANNEL
from events.models import Event, PositionCounter
from events.names import EventType
from events.outbox import NewEvent
from events.positions import last_position
from postgres.connections import connection_parameters
from tests.events.channels.factories import webhook
from tests.events.conftest import online, producing, publish, record
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def positions():
    return list(Event.objects.order_by("position").values_list("position", flat=True))


def test_a_reader_by_position_gets_an_event_that_committed_late_and_one_by_id_skips_it():
    with producing(online()) as late:
        (early,) = record(online())
        relay.number_committed()
        seen = Event.objects.get(position__isnull=False)
        assert (seen.id, seen.position) == (early.id, 1)
        assert late.id < early.id
        late.commit()
    relay.number_committed()

    assert not Event.objects.filter(id__gt=seen.id).exists()
    assert list(Event.objects.filter(position__gt=seen.position).values_list("id", flat=True)) == [late.id]


def test_an_uncommitted_event_has_no_position_and_delays_no_other():
    with producing(online()):
        record(online(), online())
        assert relay.number_committed() == 2
        assert relay.number_committed() == 0


@pytest.fixture
def patient_relays(transactional_db):
    """Let relays wait for the lock as long as a busy machine needs. Usually they give up after five seconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('events_number_committed'::regproc)")
        (usual,) = cursor.fetchone()
        cursor.execute("ALTER FUNCTION events_number_committed SET lock_timeout = %s", [f"{PATIENCE_SECONDS}s"])
        yield
        cursor.execute(usual)


@pytest.mark.usefixtures("patient_relays")
def test_events_that_commit_while_a_relay_waits_for_the_lock_are_numbered():
    record(online())
    numbered = []
    with transaction.atomic():
        PositionCounter.objects.bulk_create([PositionCounter()], ignore_conflicts=True)
        PositionCounter.objects.select_for_update().get()
        waiting = threading.Thread(target=lambda: numbered.append(_number_and_close()), daemon=True)
        waiting.start()
        wait_until(_somebody_waits_for_a_lock)
        with producing(online()) as meanwhile:
            meanwhile.commit()
    waiting.join(PATIENCE_SECONDS)
    assert numbered == [2]


def _number_and_close():
    try:
        return relay.number_all(limit=7)
    finally:
        connection.close()


def _somebody_waits_for_a_lock():
    with connection.cursor() as cursor:
        # In a transaction the view would always show the same moment.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


@pytest.mark.usefixtures("patient_relays")
def test_several_relays_number_each_event_once_without_a_gap():
    record(*[online() for _ in range(100)])
    barrier, numbered = threading.Barrier(3), []

    def race():
        barrier.wait(PATIENCE_SECONDS)
        numbered.append(_number_and_close())

    relays = [threading.Thread(target=race, daemon=True) for _ in range(3)]
    for each in relays:
        each.start()
    for each in relays:
        each.join(PATIENCE_SECONDS)

    assert sum(numbered) == 100
    assert positions() == list(range(1, 101))
    assert last_position() == 100


def test_events_of_one_workspace_are_ordered_by_version_and_not_by_id():
    workspace_id = uuid4()
    record(*[online(workspace_id, version=version) for version in (3, 2, 1)], online())
    relay.number_all()
    placed = Event.objects.filter(workspace_id=workspace_id).order_by("position").values_list("version", flat=True)
    assert list(placed) == [1, 2, 3]
    assert positions() == [1, 2, 3, 4]


def test_a_batch_s_limit_does_not_disturb_a_workspace_s_order():
    workspace_id = uuid4()
    record(online(workspace_id, version=9), online(), online(), online(workspace_id, version=8))
    assert relay.number_committed(limit=1) == 2
    placed = Event.objects.filter(position__isnull=False).order_by("position").values_list("version", flat=True)
    assert list(placed) == [8, 9]


def test_events_of_different_workspaces_are_ordered_by_id():
    ids = [event.id for event in record(*[online() for _ in range(20)])]
    relay.number_all(limit=6)
    assert list(Event.objects.order_by("position").values_list("id", flat=True)) == ids


def test_incidents_are_numbered_without_a_workspace():
    incident = NewEvent(event_type=EventType.INCIDENT_OPENED, payload={"kind": "outage"})
    ids = [event.id for event in record(incident, online(), incident)]
    assert relay.number_committed() == 3
    assert list(Event.objects.order_by("position").values_list("id", flat=True)) == ids


def test_numbering_notifies_with_the_last_position():
    with psycopg.connect(**connection_parameters(application_name="test")) as listener:
        listener.execute(f"LISTEN {relay.POSITIONED_CHANNEL}")
        record(online(), online())
        relay.number_committed()
        notes = [note.payload for note in listener.notifies(timeout=PATIENCE_SECONDS, stop_after=1)]
    assert notes == ["2"]


def test_queued_deliveries_notify_and_an_event_that_no_channel_wants_does_not():
    with psycopg.connect(**connection_parameters(application_name="test")) as listener:
        listener.execute(f"LISTEN {DELIVERIES_CHANNEL}")
        publish(online())
        webhook("http://127.0.0.1:1/")
        publish(online())
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, 'over')", [DELIVERIES_CHANNEL])
        # An open generator would keep the connection's lock and block closing it.
        with closing(listener.notifies(timeout=PATIENCE_SECONDS)) as notes:
            assert len(list(takewhile(lambda note: note.payload != "over", notes))) == 1


def test_recording_outside_of_a_transaction_is_refused():
    with pytest.raises(transaction.TransactionManagementError):
        outbox.record([online()])
    assert not Event.objects.exists()


def test_a_rollback_removes_its_event():
    with transaction.atomic():
        outbox.record([online()])
        transaction.set_rollback(True)
    assert relay.number_committed() == 0
    assert not Event.objects.exists()


def test_a_relay_killed_in_the_middle_of_its_batch_loses_nothing(start_relay):
    first, *_ = record(*[online() for _ in range(50)])
    with transaction.atomic():
        Event.objects.select_for_update().get(id=first.id)
        child = start_relay()
        # The relay has locked the counter and waits for our row.
        wait_until(_somebody_waits_for_a_lock)
        child.kill()
        assert child.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    relay.number_all(limit=20)
    assert positions() == list(range(1, 51))


def test_the_command_numbers_once_and_says_how_many(start_relay):
    record(online(), online(), online())
    output, errors = start_relay("--once").communicate(timeout=PATIENCE_SECONDS)
    assert (output, errors) == ("Numbered 3 events.\n", "")
    assert positions() == [1, 2, 3]


@pytest.mark.parametrize("stopping", [signal.SIGTERM, signal.SIGINT])
def test_the_command_numbers_events_until_it_is_signalled(start_relay, stopping):
    child = start_relay()
    wait_until(_relay_listens)
    record(online())
    wait_until(lambda: positions() == [1])
    child.send_signal(stopping)
    output, errors = child.communicate(timeout=PATIENCE_SECONDS)
    assert (child.returncode, output, errors) == (0, "Numbered 1 events.\n", "")


def _relay_listens():
    return bool(_relay_backends())


def _relay_backends():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s "
            "AND query LIKE 'LISTEN%%'",
            [relay.APPLICATION_NAME],
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_a_relay_whose_connections_are_cut_continues_and_logs_it_once(start_relay):
    child = start_relay()
    record(online())
    wait_until(lambda: positions() == [1])
    cut_off = _relay_backends()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    record(online())
    wait_until(lambda: positions() == [1, 2])
    wait_until(lambda: _relay_backends() not in ([], cut_off))
    child.terminate()
    _, errors = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0
    assert errors.count("Postgres can't be used now") == 1
    assert "Traceback" not in errors


def test_a_relay_that_missed_a_notification_finds_the_event_by_polling():
    relaying = relay.Relay(poll_seconds=0.05)
    thread = threading.Thread(target=lambda: (relaying.run(), connection.close()), daemon=True)
    thread.start()
    try:
        wait_until(_relay_listens)
        # Written without outbox.record, so nothing is notified.
        Event.objects.create(event_type=EventType.WORKSPACE_ONLINE, workspace_id=uuid4(), version=1)
        wait_until(lambda: positions() == [1])
    finally:
        relaying.stop()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
