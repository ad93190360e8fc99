"""A worker keeps its database connection from task to task and replaces one that broke."""

import threading

import pytest
from celery.fixups.django import DjangoWorkerFixup
from celery.signals import task_postrun, task_prerun
from django.db import connection

from config.celery import app
from tests.waiting import PATIENCE_SECONDS
from workspaces import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def as_in_a_worker():
    """Celery's own signal handlers for connections, as each worker installs them."""
    fixup = DjangoWorkerFixup(app)
    task_prerun.connect(fixup.on_task_prerun)
    task_postrun.connect(fixup.on_task_postrun)
    connection.close()
    yield
    task_prerun.disconnect(fixup.on_task_prerun)
    task_postrun.disconnect(fixup.on_task_postrun)


def pid_of_the_connection_of_a_task():
    """Send the signals around a task; return the pid of the database process that serves its connection."""
    task_prerun.send(sender=tasks.reap)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    task_postrun.send(sender=tasks.reap)
    return int(pid)


def terminate(pid):
    def from_elsewhere():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, %s)", [pid, int(1000 * PATIENCE_SECONDS)])
        connection.close()

    thread = threading.Thread(target=from_elsewhere)
    thread.start()
    thread.join()


def test_the_next_task_uses_the_same_connection():
    assert pid_of_the_connection_of_a_task() == pid_of_the_connection_of_a_task()


def test_the_task_after_a_lost_connection_uses_a_new_one():
    lost = pid_of_the_connection_of_a_task()
    terminate(lost)
    assert pid_of_the_connection_of_a_task() != lost


def last_query_of(pid):
    """Return the last query of this database process, as another connection sees it."""
    seen = []

    def from_elsewhere():
        with connection.cursor() as cursor:
            cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid])
            seen.extend(cursor.fetchone())
        connection.close()

    thread = threading.Thread(target=from_elsewhere)
    thread.start()
    thread.join()
    return seen[0]


def begin_a_task():
    """Begin a task and open its connection; return the pid of the database process behind it."""
    pid = pid_of_the_connection_of_a_task()
    task_prerun.send(sender=tasks.reap)
    with connection.cursor():
        return pid


def test_a_connection_that_was_used_just_now_is_not_checked_again(monkeypatch):
    monkeypatch.setattr("postgres.backend.base.TRUSTED_SECONDS", PATIENCE_SECONDS)
    assert last_query_of(begin_a_task()) == "SELECT pg_backend_pid()"


def test_a_connection_that_was_idle_for_long_is_checked(monkeypatch):
    monkeypatch.setattr("postgres.backend.base.TRUSTED_SECONDS", 0.0)
    assert last_query_of(begin_a_task()) == "SELECT 1"
