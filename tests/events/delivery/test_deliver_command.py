"""`manage.py deliver` as a process: sending, stopping, and an outage of Postgres."""

import json
import signal
import subprocess
import sys
import threading

import pytest
from django.db import connection

from events.delivery.deliverer import APPLICATION_NAME
from tests.events.channels.factories import channel, signing_secret, webhook
from tests.events.channels.receivers import Answer
from tests.events.conftest import online, publish
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def deliver(child_environment):
    children = []

    def start(*arguments):
        command = [sys.executable, "-m", "django", "deliver", *arguments]
        environment = {**child_environment, "DELIVERY_ALLOW_PRIVATE": "127.0.0.0/8"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, env=environment, **pipes))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate(timeout=PATIENCE_SECONDS)


def listeners():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
            [APPLICATION_NAME],
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_once_delivers_what_is_due_and_prints_how_many(deliver, receiver):
    channel = webhook(receiver.url)
    publish(online(), online())
    output, errors = deliver("--once").communicate(timeout=PATIENCE_SECONDS)
    assert (output, errors) == ("Delivered 2 events.\n", "")
    assert len(receiver.messages(signing_secret(channel))) == 2


def test_a_log_channel_prints_only_json_lines(deliver):
    channel("log", {"level": "WARNING"})
    publish(online(subject={"name": "nightly"}), online())
    _, errors = deliver("--once").communicate(timeout=PATIENCE_SECONDS)
    first, second = [json.loads(line) for line in errors.splitlines()]
    assert (first["level"], first["event"], first["subject"]) == ("WARNING", "WORKSPACE_ONLINE", {"name": "nightly"})
    assert (first["position"], second["position"]) == (1, 2)


@pytest.mark.parametrize("stopping", [signal.SIGTERM, signal.SIGINT])
def test_it_delivers_new_events_and_stops_on_a_signal(deliver, receiver, stopping):
    channel = webhook(receiver.url)
    child = deliver()
    wait_until(listeners)
    publish(online())
    wait_until(lambda: receiver.accepted)
    child.send_signal(stopping)
    output, errors = child.communicate(timeout=PATIENCE_SECONDS)
    assert (child.returncode, output, errors) == (0, "Delivered 1 events.\n", "")
    assert len(receiver.messages(signing_secret(channel))) == 1


def test_a_stop_waits_for_the_message_being_sent_and_marks_it(deliver, receiver):
    webhook(receiver.url, concurrency=1)
    released = threading.Event()
    receiver.answer = lambda request: Answer(released=released)
    child = deliver()
    publish(*[online() for _ in range(20)])
    wait_until(lambda: receiver.received)
    child.terminate()
    # It has noticed the signal once it no longer listens.
    wait_until(lambda: not listeners())
    assert child.poll() is None
    released.set()
    output, errors = child.communicate(timeout=PATIENCE_SECONDS)
    assert (child.returncode, output, errors) == (0, "Delivered 1 events.\n", "")
    assert len(receiver.accepted) == 1


def test_it_survives_cut_connections_and_logs_the_outage_once(deliver, receiver):
    webhook(receiver.url)
    child = deliver()
    wait_until(listeners)
    before = listeners()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    wait_until(lambda: listeners() not in ([], before))
    publish(online())
    wait_until(lambda: receiver.accepted)
    child.terminate()
    _, errors = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0
    assert errors.count("Postgres can't be used now") == 1
    assert "Traceback" not in errors
