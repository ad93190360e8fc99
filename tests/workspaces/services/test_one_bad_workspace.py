"""Whatever one workspace raises, or however long its backend hangs, every loop handles the others and shows it."""

import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection
from psycopg_pool import ConnectionPool

from devserver import stop_and_resume
from postgres.clock import database_now
from postgres.connections import connection_parameters
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting, failed, hibernated, launching, online, running_on
from tests.workspaces.fake_backend import fake_backend
from tests.workspaces.unguarded import set_status
from workspaces import log_verification
from workspaces.access.api_keys import mint_api_key
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Heartbeat, Launch, Workspace
from workspaces.operations import OPERATIONS, run_each
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.base import LaunchKey, ProvisionerError
from workspaces.provisioners.guarded_calls import Calls
from workspaces.services.core import transition as transitions
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.launching.resume import resume
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown
from workspaces.services.stopping import reaper
from workspaces.services.stopping.hibernate import hibernate, hibernate_idle, undo_overdue
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.reaper import reap
from workspaces.services.stopping.remove import delete_files, remove
from workspaces.services.stopping.shutdown import pause_all_for_shutdown
from workspaces.services.stopping.teardown import claim_due_teardowns, confirm_stopped, tear_down
from workspaces.services.watching import mass_lateness
from workspaces.services.watching.crash_recovery import restart_crashed
from workspaces.services.watching.last_look import take_last_looks
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.sweep import preview_sweep, sweep_stuck
from workspaces.services.watching.watch import watch_boots, watch_online

S = WorkspaceStatus
LIMIT = timedelta(seconds=180)
ERRORS = [
    RecursionError("deep"),
    ValueError("bad"),
    KeyError("gone"),
    ProvisionerError("bad"),
    IntegrityError("no"),
]
EACH_ERROR = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def ids(rows):
    return {row.pk for row in rows}


def with_status(*statuses):
    return ids(Workspace.objects.filter(status__in=statuses))


def ago(**duration):
    return database_now() - timedelta(**duration)


def three(make, **fields):
    return [make(name=f"w{number}", **fields) for number in range(3)]


def execute(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


# --- Loops that change statuses ------------------------------------------------------------------


def overdue():
    return three(booting, now=ago(minutes=11))


def silent():
    rows = three(online)
    Heartbeat.objects.update(last_heartbeat_at=ago(minutes=10))
    return rows


def crashed():
    rows = three(online)
    for row in rows:
        set_status(row, S.OFFLINE, restart_due_at=ago(seconds=1))
    return rows


def idle():
    rows = three(online, hibernation_idle_minutes=1)
    Heartbeat.objects.update(active_tasks=0, idle_since=ago(minutes=5), last_heartbeat_at=database_now())
    return rows


def stuck_hibernations():
    rows = three(online)
    for row in rows:
        hibernate(workspace_id=row.pk, forced=False, now=ago(minutes=10))
    return rows


def tree(make=online):
    root = make(name="root")
    return [root, *(make(name=f"child{number}", parent_id=root.pk) for number in range(2))]


def paused_tree():
    rows = tree()
    pause(workspace_id=rows[0].pk, now=database_now())
    return rows


def shut_down():
    rows = three(online)
    pause_all_for_shutdown(now=database_now())
    return rows


def run_operation(name, rows):
    operation = next(each for each in OPERATIONS if each.name == name)
    result = run_each(operation, [row.pk for row in rows], by="tester", options=operation.admin_options)
    assert len(result.refused) == 1
    assert "reference" in result.summary
    return result


# How to make three workspaces, how to handle them all, and the statuses of those that are done.
STATUS_LOOPS = {
    "sweep": (overdue, lambda _: sweep_stuck(now=database_now(), policy=Policy()), {S.FAILED}),
    "silence": (silent, lambda _: mark_silent_offline(now=database_now(), limit=LIMIT), {S.OFFLINE}),
    "restarts": (crashed, lambda _: restart_crashed(now=database_now()), {S.PROVISIONING}),
    "hibernation": (idle, lambda _: hibernate_idle(now=database_now(), limit=LIMIT), {S.HIBERNATING}),
    "hibernations undone": (
        stuck_hibernations,
        lambda _: undo_overdue(now=database_now(), limit=LIMIT),
        {S.ONLINE, S.OFFLINE},
    ),
    "pause of a tree": (tree, lambda rows: pause(workspace_id=rows[0].pk, now=database_now()), {S.PAUSED}),
    "resume of a tree": (
        paused_tree,
        lambda rows: resume(workspace_id=rows[0].pk, now=database_now()),
        {S.PROVISIONING},
    ),
    "removal of a tree": (
        tree,
        lambda rows: remove(workspace_id=rows[0].pk, confirmed=True, now=database_now()),
        {S.REMOVED},
    ),
    "shutdown": (lambda: three(online), lambda _: pause_all_for_shutdown(now=database_now()), {S.PAUSED}),
    "resume after a shutdown": (shut_down, lambda _: resume_after_shutdown(now=database_now()), {S.PROVISIONING}),
    "restart of a selection": (lambda: three(online), lambda rows: run_operation("restart", rows), {S.PROVISIONING}),
    "pause of a selection": (lambda: three(online), lambda rows: run_operation("pause", rows), {S.PAUSED}),
    "wake of a selection": (lambda: three(hibernated), lambda rows: run_operation("wake", rows), {S.PROVISIONING}),
    "cancel of a selection": (lambda: three(booting), lambda rows: run_operation("cancel", rows), {S.FAILED}),
    "removal of a selection": (lambda: three(online), lambda rows: run_operation("remove", rows), {S.REMOVED}),
}


@contextmanager
def raising_for(bad, error, monkeypatch):
    """Raise an error whenever this workspace's status is to be written; one of the database's fails a statement."""
    write = transitions._write

    def write_or_raise(rows, changes):
        if bad.pk in ids(rows):
            if isinstance(error, IntegrityError):
                with connection.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO workspaces_sweeprun (id, ran_at, duration_seconds) VALUES (2, now(), 0)"
                    )
            raise error
        write(rows, changes)

    monkeypatch.setattr(transitions, "_write", write_or_raise)
    yield
    monkeypatch.setattr(transitions, "_write", write)


@pytest.mark.django_db
@EACH_ERROR
@pytest.mark.parametrize("loop", STATUS_LOOPS)
def test_the_other_workspaces_change_whatever_one_of_them_raises(fake, monkeypatch, caplog, loop, error):
    make, handle, done = STATUS_LOOPS[loop]
    rows = make()
    bad, others = rows[1], {rows[0].pk, rows[2].pk}
    was = Workspace.objects.get(pk=bad.pk)
    with raising_for(bad, error, monkeypatch):
        handle(rows)
    assert with_status(*done) & ids(rows) - {bad.pk} == others
    now = Workspace.objects.get(pk=bad.pk)
    # What was done for the bad one is undone, its launch's part too.
    assert (now.status, now.version, now.launch_id) == (was.status, was.version, was.launch_id)
    logged = [record.__dict__ for record in caplog.records if record.levelname == "ERROR"]
    assert {str(fields["workspace_id"]) for fields in logged} == {str(bad.pk)}
    assert all(fields["reference"] for fields in logged)


@pytest.mark.django_db
def test_a_workspace_that_could_not_be_paused_keeps_its_launch(fake, monkeypatch):
    rows = tree()
    with raising_for(rows[1], ValueError("bad"), monkeypatch):
        pause(workspace_id=rows[0].pk, now=database_now())
    assert Launch.objects.get(pk=rows[1].launch_id).teardown_at is None
    assert Launch.objects.get(pk=rows[2].launch_id).teardown_at is not None


@pytest.mark.django_db
@EACH_ERROR
def test_a_deadline_that_cannot_be_judged_sets_aside_its_workspace_only(monkeypatch, error):
    rows = overdue()
    judge = sweep_stuck.__globals__["deadline_in_force"]

    def judge_or_raise(workspace, *, policy):
        if workspace.pk == rows[1].pk:
            raise error
        return judge(workspace, policy=policy)

    monkeypatch.setitem(sweep_stuck.__globals__, "deadline_in_force", judge_or_raise)
    planned = preview_sweep(now=database_now(), policy=Policy())
    assert ({row.pk for row, _ in planned.reasons}, len(planned.set_aside)) == ({rows[0].pk, rows[2].pk}, 1)
    report = sweep_stuck(now=database_now(), policy=Policy())
    assert ids(report.failed) == {rows[0].pk, rows[2].pk}
    (failure,) = report.set_aside
    assert failure.row.pk == rows[1].pk
    assert failure.text.startswith(f"It could not be swept ({type(error).__name__}, reference ")


@pytest.mark.django_db
@EACH_ERROR
def test_an_incident_that_cannot_be_reviewed_does_not_stop_the_sweep(monkeypatch, error):
    late = three(booting, now=ago(minutes=11)) + [
        booting(name=f"x{number}", now=ago(minutes=11)) for number in range(3)
    ]
    assert sweep_stuck(now=database_now(), policy=Policy()).held == len(late)
    stuck = launching(now=ago(minutes=11))

    def refuse(incident, *, now, policy):
        raise error

    monkeypatch.setattr(mass_lateness, "_review", refuse)
    assert ids(sweep_stuck(now=database_now(), policy=Policy()).failed) == {stuck.pk}


# --- Loops that ask a backend --------------------------------------------------------------------


def dead_boots(fake):
    rows = three(booting)
    for row in rows:
        fake.simulate_exit(running_on(fake, row), exit_code=1)
    return rows


def dead_online(fake):
    rows = three(online)
    for row in rows:
        fake.simulate_exit(running_on(fake, row), exit_code=1)
    return rows


def late_boots(fake):
    rows = three(booting, now=ago(minutes=9))
    for row in rows:
        running_on(fake, row)
    return rows


LOOKS = {
    "boots": (dead_boots, lambda: watch_boots(clock=database_now)),
    "online": (dead_online, lambda: watch_online(clock=database_now)),
    "last looks": (late_boots, lambda: take_last_looks(clock=database_now, policy=Policy())),
}
EACH_LOOK = pytest.mark.parametrize("look", LOOKS)


def evidence(row):
    return Launch.objects.get(pk=row.launch_id).evidence


@pytest.mark.django_db
@EACH_LOOK
@EACH_ERROR
def test_the_others_are_watched_whatever_the_look_at_one_raises(fake, caplog, look, error):
    make, watch = LOOKS[look]
    rows = make(fake)

    def raise_for_one(call, key):
        if key.workspace_id == rows[1].pk:
            raise error

    fake.before_call = raise_for_one
    assert set(watch()) - {rows[1].pk} == {rows[0].pk, rows[2].pk}
    seen = evidence(rows[1])
    assert seen["state"] == "unknown"
    assert seen["detail"].startswith("It could not be looked at: ")
    assert (type(error).__name__ in seen["detail"]) != isinstance(error, ProvisionerError)
    # Unknown is not dead.
    assert Workspace.objects.get(pk=rows[1].pk).status == rows[1].status
    watch()
    logged = [record for record in caplog.records if record.message == "A backend failed"]
    # It is logged once, by the reference that the evidence shows, though it happens at each look.
    assert all(record.__dict__["reference"] in seen["detail"] for record in logged)
    assert len(logged) == (0 if isinstance(error, ProvisionerError) else 1)


@pytest.mark.django_db
def test_a_reference_leads_to_what_went_wrong_last_also_after_a_recovery(fake, caplog):
    row = online()
    key = running_on(fake, row)
    for message in ("first", "second", None, "second"):
        error = ValueError(message)

        def refuse(call, key, error=error):
            raise error

        fake.before_call = refuse if message else lambda call, key: None
        caplog.clear()
        details = {guarded_calls.look("process", key).detail for _ in range(3)}
        logged = [each for each in caplog.records if each.message == "A backend failed"]
        assert [str(each.exc_info[1]) for each in logged] == ([message] if message else [])
        assert all(each.__dict__["reference"] in details.pop() for each in logged)


@pytest.mark.django_db
@EACH_LOOK
@EACH_ERROR
def test_the_others_are_watched_whatever_the_handling_of_one_raises(fake, monkeypatch, look, error):
    make, watch = LOOKS[look]
    rows = make(fake)
    names = {"boots": "fail", "online": "mark_dead_offline", "last looks": "_store_last_look"}
    handle = watch.__code__ and globals()[watch.__code__.co_names[0]].__globals__
    original = handle[names[look]]

    def raise_for_one(*arguments, **named):
        key = named.get("launch_id") or arguments[0].launch_id
        if key == rows[1].launch_id:
            raise error
        return original(*arguments, **named)

    monkeypatch.setitem(handle, names[look], raise_for_one)
    assert set(watch()) == {rows[0].pk, rows[2].pk}
    seen = evidence(rows[1])
    assert (seen["state"], type(error).__name__ in seen["detail"]) == ("unknown", True)


@pytest.mark.django_db
@EACH_ERROR
def test_the_reaper_judges_the_other_objects_whatever_one_raises(fake, monkeypatch, error):
    rows = three(failed)
    for row in rows:
        running_on(fake, row)
    Launch.objects.update(teardown_at=None, torn_down_at=None)
    lock = reaper.lock_workspace

    def lock_or_raise(workspace_id):
        if workspace_id == rows[1].pk:
            raise error
        return lock(workspace_id)

    monkeypatch.setattr(reaper, "lock_workspace", lock_or_raise)
    assert set(reap(now=database_now()).scheduled) == {rows[0].launch_id, rows[2].launch_id}


@pytest.mark.django_db
@EACH_ERROR
def test_a_backend_that_raises_at_the_listing_is_reported_and_the_others_are_asked(fake, monkeypatch, error):
    def refuse():
        raise error

    monkeypatch.setattr(fake, "running_launches", refuse)
    assert reap(now=database_now()).unreachable == ["process"]


@pytest.mark.django_db
@EACH_ERROR
@pytest.mark.parametrize("call", ["stop", "destroy", "forget"])
def test_the_others_are_stopped_and_deleted_whatever_one_raises(fake, call, error):
    rows = three(online)
    for row in rows:
        running_on(fake, row)
        remove(workspace_id=row.pk, confirmed=True, now=database_now())

    def raise_for_one(name, key):
        if name == call and key.workspace_id == rows[1].pk:
            raise error

    fake.before_call = raise_for_one
    stopped = {pk: tear_down(launch_id=pk, now=database_now()) for pk in claim_due_teardowns(now=database_now())}
    assert [stopped[row.launch_id] for row in rows] == [True, call != "stop", True]
    delete_files(now=database_now())
    deleted = ids(Workspace.objects.filter(files_deleted_at__isnull=False))
    assert {rows[0].pk, rows[2].pk} == deleted - {rows[1].pk}
    if call == "stop":
        told = Launch.objects.get(pk=rows[1].launch_id).teardown_error
        assert "bad" in told or type(error).__name__ in told
        # What was wrong is over: it is stopped like any other.
        fake.before_call = lambda name, key: None
        assert tear_down(launch_id=rows[1].launch_id, now=database_now())


# --- Backends that hang --------------------------------------------------------------------------


# So long calls hang, unless they are released: longer than anything here waits for them.
HANGING_SECONDS = 2 * PATIENCE_SECONDS


@pytest.fixture
def hanging(monkeypatch):
    """A fake backend in threads, as in production; `hang(call, *rows)` lets that call about these workspaces hang.

    The limits of calls about them are short. All others may take as long as this machine needs.
    """
    monkeypatch.setattr(guarded_calls, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(guarded_calls, "AFTER_STOP_SECONDS", 0.2)
    released, before = threading.Event(), set(threading.enumerate())
    run, hung = Calls.run, []

    def run_patiently(calls, key, act, *, seconds):
        return run(calls, key, act, seconds=seconds if any(pk in str(key) for pk in hung) else PATIENCE_SECONDS)

    monkeypatch.setattr(Calls, "run", run_patiently)
    with fake_backend(in_threads=True) as backend:

        def hang(call, *rows):
            hung.extend(str(row.pk) for row in rows)

            def wait(name, key):
                if name == call and str(key.workspace_id) in hung:
                    released.wait(HANGING_SECONDS)

            backend.before_call = wait

        backend.hang, backend.hung, backend.release = hang, hung, released.set
        yield backend
        released.set()
        # Some still use the database.
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE_SECONDS)


@pytest.mark.django_db(transaction=True)
def test_files_that_take_long_to_delete_hold_up_no_others(hanging, monkeypatch):
    monkeypatch.setattr("workspaces.services.stopping.remove.DELETE_SECONDS", PATIENCE_SECONDS)
    rows = three(online)
    for row in rows:
        remove(workspace_id=row.pk, confirmed=True, now=database_now())
        confirm_stopped(launch_id=row.launch_id, now=database_now())
    hanging.hang("destroy", rows[0])

    def delete():
        delete_files(now=database_now())
        connection.close()

    deleting = threading.Thread(target=delete)
    deleting.start()
    wait_until(lambda: Workspace.objects.filter(files_deleted_at__isnull=False).count() == 2)
    # A message that comes meanwhile keeps no second thread of the worker.
    assert delete_files(now=database_now()) == ([], [])
    assert deleting.is_alive()
    assert Workspace.objects.get(files_deleted_at=None).pk == rows[0].pk
    hanging.release()
    deleting.join(PATIENCE_SECONDS)
    assert not Workspace.objects.filter(files_deleted_at=None).exists()


@pytest.mark.django_db
@EACH_LOOK
def test_a_look_that_hangs_is_unknown_after_its_limit_and_is_not_begun_again_while_it_hangs(hanging, monkeypatch, look):
    make, watch = LOOKS[look]
    rows = make(hanging)
    hanging.hang("inspect", rows[1])
    assert set(watch()) - {rows[1].pk} == {rows[0].pk, rows[2].pk}
    assert evidence(rows[1])["detail"] == (
        "It could not be looked at: its backend did not answer in time and still works on it."
    )
    monkeypatch.setattr(guarded_calls, "LOOK_SECONDS", PATIENCE_SECONDS)
    began = time.monotonic()
    watch()
    watch()
    # Neither waited for it again.
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    assert sum(name == "inspect" and key.workspace_id == rows[1].pk for name, key in hanging.calls) == 1
    # Though it can't be looked at, it can be stopped.
    remove(workspace_id=rows[1].pk, confirmed=True, now=database_now())
    assert tear_down(launch_id=rows[1].launch_id, now=database_now())


@pytest.mark.django_db
def test_looks_that_all_hang_take_a_bounded_time_until_too_many_hang(hanging, monkeypatch):
    rows = [online(name=f"w{number}") for number in range(40)]
    hanging.hang("inspect", *rows)
    run, limits = Calls.run, []

    def run_within(calls, key, act, *, seconds):
        limits.append(seconds)
        return run(calls, key, act, seconds=seconds)

    monkeypatch.setattr(Calls, "run", run_within)
    watch_online(clock=database_now)
    wait_until(lambda: len(hanging.calls) == guarded_calls.MOST_HANGING)
    # One after another, each for the whole limit, they would take forty times as long.
    assert sum(limits) < 5 * guarded_calls.LOOK_SECONDS
    details = [evidence(row)["detail"] for row in sorted(rows, key=lambda row: row.launch_id)]
    assert all("did not answer in time" in detail for detail in details[: guarded_calls.MOST_HANGING])
    too_many = "It could not be looked at: its backend does not answer: 32 earlier calls hang."
    assert set(details[guarded_calls.MOST_HANGING :]) == {too_many}
    hanging.release()
    wait_until(lambda: not guarded_calls.calls_of("process", "inspect").running)


@pytest.mark.django_db
def test_a_stop_that_hangs_ends_after_its_limit_says_so_and_stops_no_other(hanging):
    rows = three(online)
    for row in rows:
        running_on(hanging, row)
        pause(workspace_id=row.pk, now=database_now())
    hanging.hang("stop", rows[1])
    began = time.monotonic()
    stopped = [tear_down(launch_id=row.launch_id, now=database_now(), stop_seconds=0.2) for row in rows]
    assert (stopped, time.monotonic() - began < PATIENCE_SECONDS) == ([True, False, True], True)
    assert "did not answer in time" in Launch.objects.get(pk=rows[1].launch_id).teardown_error


@pytest.mark.django_db
def test_a_listing_that_hangs_is_a_backend_that_cannot_be_asked(hanging, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(reaper, "LIST_SECONDS", 0.3)
    monkeypatch.setattr(hanging, "running_launches", lambda: released.wait(HANGING_SECONDS) and [])
    hanging.hung.append("process")
    assert reap(now=database_now()).unreachable == ["process"]
    released.set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", ["stop", "request_stop"])
def test_the_end_of_make_up_waits_for_no_workspace_that_hangs_and_names_it(hanging, monkeypatch, call):
    rows = three(online)
    for row in rows:
        running_on(hanging, row)
    hanging.hang(call, rows[1])
    hung = [rows[1].name] if call == "stop" else []

    def monotonic():
        """Let all the time pass once only the thread that hangs is left."""
        at_work = sum(thread.name.endswith("(work)") for thread in threading.enumerate())
        return time.monotonic() + (HANGING_SECONDS if at_work == len(hung) else 0)

    # The limit under test is what ends the wait, and not that of the call.
    monkeypatch.setattr(guarded_calls, "AFTER_STOP_SECONDS", HANGING_SECONDS)
    monkeypatch.setattr(stop_and_resume, "_ALL_SECONDS", HANGING_SECONDS)
    monkeypatch.setattr(stop_and_resume, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))
    began = time.monotonic()
    stopped, left = stop_and_resume.stop_workspaces()
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert [launch.workspace.name for launch in left] == hung
    assert len(stopped) == 3 - len(hung)
    assert ids(Workspace.objects.filter(status=S.PAUSED)) == ids(rows)


@pytest.mark.django_db(transaction=True)
def test_a_second_ctrl_c_ends_the_wait_for_workspaces(hanging, monkeypatch):
    monkeypatch.setattr(guarded_calls, "AFTER_STOP_SECONDS", HANGING_SECONDS)
    monkeypatch.setattr(stop_and_resume, "_ALL_SECONDS", HANGING_SECONDS)
    rows = three(online)
    for row in rows:
        running_on(hanging, row)
    hanging.hang("stop", rows[1])
    hangs = ("stop", LaunchKey(workspace_id=rows[1].pk, launch_id=rows[1].launch_id))
    began = time.monotonic()
    _, left = stop_and_resume.stop_workspaces(is_forced=lambda: hangs in hanging.calls)
    assert rows[1].name in [launch.workspace.name for launch in left]
    assert time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.django_db(transaction=True)
def test_no_stop_begins_after_the_end_of_make_up(hanging, monkeypatch):
    monkeypatch.setattr(stop_and_resume, "_THREADS", 1)
    monkeypatch.setattr(stop_and_resume, "_ALL_SECONDS", PATIENCE_SECONDS)
    rows = three(online)
    keys = [running_on(hanging, row) for row in rows]
    first, released = threading.Event(), threading.Event()

    def hang(name, key):
        if name == "stop":
            first.set()
            released.wait(PATIENCE_SECONDS)

    hanging.before_call = hang
    before = set(threading.enumerate())
    stopped, left = stop_and_resume.stop_workspaces(is_forced=first.is_set)
    assert (stopped, {launch.pk for launch in left}) == ([], {key.launch_id for key in keys})
    released.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)
    assert [name for name, _ in hanging.calls].count("stop") == 1


@contextmanager
def locked_by_another(sql, *parameters):
    """Let another connection keep what this statement locks while the block runs, for two minutes at most."""
    locked, done = threading.Event(), threading.Event()

    def keep_locked():
        execute("BEGIN")
        execute(sql, *parameters)
        locked.set()
        done.wait(HANGING_SECONDS)
        execute("ROLLBACK")
        connection.close()

    keeper = threading.Thread(target=keep_locked)
    keeper.start()
    try:
        assert locked.wait(PATIENCE_SECONDS)
        yield
    finally:
        done.set()
        keeper.join()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_forced", [False, True])
def test_the_end_of_make_up_waits_for_no_database_that_does_not_answer(hanging, monkeypatch, is_forced):
    monkeypatch.setattr(stop_and_resume, "_ALL_SECONDS", HANGING_SECONDS if is_forced else 1)
    three(online)
    with locked_by_another("LOCK TABLE workspaces_workspace"):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="did not answer in time"):
            stop_and_resume.stop_workspaces(is_forced=lambda: is_forced)
        assert time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.django_db(transaction=True)
def test_a_shutdown_pauses_the_others_while_a_row_stays_locked(fake):
    rows = three(online)
    with locked_by_another("SELECT 1 FROM workspaces_workspace WHERE id = %s FOR UPDATE", rows[1].pk):
        pause_all_for_shutdown(now=database_now())
        assert with_status(S.PAUSED) == {rows[0].pk, rows[2].pk}


def write_while_read_only():
    execute("SET default_transaction_read_only = on")
    # A transaction that has begun stays as it is.
    execute("SET transaction_read_only = on")
    Workspace.objects.update(name="x")


def wait_for_a_full_pool():
    parameters = connection_parameters(application_name="tests")
    with ConnectionPool(kwargs=parameters, min_size=1, open=True) as pool, pool.connection():
        connection.wrap_database_errors(pool.getconn)(timeout=0.1)


def connect_to_a_silent_server():
    with socket.create_server(("127.0.0.1", 0)) as server, connection.wrap_database_errors:
        psycopg.connect(host="127.0.0.1", port=server.getsockname()[1], connect_timeout=2)


OUTAGES = {
    "lost connection": lambda: execute("SELECT pg_terminate_backend(pg_backend_pid())"),
    "read-only server": write_while_read_only,
    "full disk": lambda: execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$"),
    "full pool": wait_for_a_full_pool,
    "silent server": connect_to_a_silent_server,
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_of_the_database_ends_the_loop_at_the_first_row(fake, caplog, outage):
    rows = crashed()
    guard = RowGuard(what="It could not be handled")
    handled = []

    def act(part):
        handled.append(part)
        OUTAGES[outage]()

    try:
        with pytest.raises(DatabaseError), guard.handling(rows[0].pk):
            act(rows[0])
        connection.close()
        with pytest.raises(DatabaseError):
            guard.handle_together([row.pk for row in rows], act)
    finally:
        connection.close()
    assert (len(handled), guard.failures, caplog.messages) == (2, [], [])


@pytest.mark.django_db
@pytest.mark.parametrize("is_together", [False, True])
def test_what_a_row_raises_at_each_look_is_logged_once_until_it_changes(caplog, is_together):
    bad, other = uuid4(), uuid4()

    def logged_by(error=None, *, row=bad):
        """Return how many errors are logged at a look at both rows, of which one raises this."""

        def act(rows):
            if error and row in rows:
                raise error

        caplog.clear()
        guard = RowGuard(what="It could not be handled")
        if is_together:
            guard.handle_together([bad, other], act)
        else:
            for each in (bad, other):
                with guard.handling(each):
                    act([each])
        assert len(guard.failures) == bool(error)
        return len(caplog.records)

    assert [logged_by(ValueError("a")) for _ in range(3)] == [1, 0, 0]
    assert logged_by(ValueError("b")) == 1
    assert logged_by(ValueError("b"), row=other) == 1
    assert logged_by() == 0
    assert [logged_by(ValueError("b")) for _ in range(2)] == [1, 0]


# --- Lists ---------------------------------------------------------------------------------------


@pytest.fixture
def one_beyond_the_calendar(settings):
    """Three workspaces; the deadline of the second can't be computed: it would lie after the year 9999."""
    settings.PROVISION_TIMEOUT_SECONDS = 3600
    rows = three(booting)
    Workspace.objects.filter(pk=rows[1].pk).update(phase_entered_at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    return rows


def texts_in_a_list(client, *, way):
    """Return what each way in lists of each workspace, by name."""
    if way == "api":
        _, key = mint_api_key(name="reader", scopes=[ApiScope.READ])
        listed = client.get("/workspaces", headers={"Authorization": f"Bearer {key}"}).json()
        return {each["name"]: each["last_sample_error"] for each in listed}
    if way == "command":
        output = StringIO()
        call_command("workspaces", "--format", "json", stdout=output)
        return {each["name"]: each.get("error", "") for each in json.loads(output.getvalue())}
    client.force_login(get_user_model().objects.create_superuser("operator"))
    page = client.get("/admin/workspaces/workspace/").content.decode()
    rows = re.findall(r"data-row.*?</tr>", page, flags=re.DOTALL)
    return {re.search(r"w\d", row).group(): row for row in rows}


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["api", "command", "admin"])
def test_a_list_shows_the_others_and_says_what_is_wrong_with_one(client, one_beyond_the_calendar, way):
    texts = texts_in_a_list(client, way=way)
    assert sorted(texts) == ["w0", "w1", "w2"]
    assert "It could not be shown (OverflowError, reference " in texts.pop("w1")
    assert not any("could not be shown" in text for text in texts.values())


@pytest.mark.django_db
def test_sweep_stuck_names_what_could_not_be_swept_or_looked_at_and_exits_with_1(fake, monkeypatch):
    odd, late, unseen = (
        booting(name="odd", now=ago(hours=2)),
        booting(name="late", now=ago(hours=2)),
        online(name="unseen"),
    )
    reason_of = sweep_stuck.__globals__["timeout_reason"]

    def reason_or_raise(workspace, deadline, **named):
        if workspace.pk == odd.pk:
            raise ValueError
        return reason_of(workspace, deadline, **named)

    monkeypatch.setitem(sweep_stuck.__globals__, "timeout_reason", reason_or_raise)

    def refuse(call, key):
        if key.workspace_id == unseen.pk:
            raise RecursionError

    fake.before_call = refuse
    watch_online(clock=database_now)
    output = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("sweep_stuck", stdout=output)
    assert ended.value.code == 1
    assert Workspace.objects.get(pk=late.pk).status == S.FAILED
    assert re.search(r"odd .*It could not be swept \(ValueError, reference ", output.getvalue())
    assert re.search(r"unseen .*It could not be looked at: its backend failed \(RecursionError", output.getvalue())


@pytest.mark.django_db
@EACH_ERROR
def test_the_verification_of_the_log_goes_on_after_a_workspace_that_raises(monkeypatch, error):
    rows = three(booting)
    replay = log_verification.replay

    def replay_or_raise(row, moves):
        if row.pk == rows[1].pk:
            raise error
        return replay(row, moves)

    monkeypatch.setattr(log_verification, "replay", replay_or_raise)
    replayed, found = log_verification.differences()
    assert (replayed, [each.workspace_id for each in found]) == (3, [rows[1].pk])
    assert type(error).__name__ in found[0].message
