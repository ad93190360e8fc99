"""A worker's database connection: kept from task to task, and made anew where it broke."""

import threading

import pytest
from celery.fixups.django import DjangoWorkerFixup
from celery.signals import task_postrun, task_prerun
from django.db import connection

from config.celery import app
from workspaces import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def as_in_a_worker():
    """Celery's own care for the connections, as each worker installs it."""
    fixup = DjangoWorkerFixup(app)
    task_prerun.connect(fixup.on_task_prerun)
    task_postrun.connect(fixup.on_task_postrun)
    connection.close()
    yield
    task_prerun.disconnect(fixup.on_task_prerun)
    task_postrun.disconnect(fixup.on_task_postrun)


def backend_of_a_task():
    """Run what a worker runs around a task; return the database process that the task had."""
    task_prerun.send(sender=tasks.reap)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    task_postrun.send(sender=tasks.reap)
    return int(pid)


def terminate(pid):
    def from_elsewhere():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        connection.close()

    thread = threading.Thread(target=from_elsewhere)
    thread.start()
    thread.join()


def test_the_next_task_has_the_same_connection():
    assert backend_of_a_task() == backend_of_a_task()


def test_the_task_after_a_lost_connection_has_a_new_one():
    lost = backend_of_a_task()
    terminate(lost)
    assert backend_of_a_task() != lost


def last_question_of(pid):
    """Return what this database process was asked last, as another connection sees it."""
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
    """Come to the point where a task asks its first question; return the database process that it would ask."""
    pid = backend_of_a_task()
    task_prerun.send(sender=tasks.reap)
    with connection.cursor():
        return pid


def test_a_connection_that_was_good_just_now_and_is_silent_is_not_asked_again():
    assert last_question_of(begin_a_task()) == "SELECT pg_backend_pid()"


def test_a_connection_that_was_silent_for_long_is_asked(monkeypatch):
    monkeypatch.setattr("postgres.backend.base.BELIEVED_SECONDS", 0.0)
    assert last_question_of(begin_a_task()) == "SELECT 1"
