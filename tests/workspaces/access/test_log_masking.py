"""Lines of the server's log hold no secret, and say what they can."""

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from config.log_format import FieldsFormatter
from tests.workspaces.factories import online
from workspaces.access import log_masking
from workspaces.access.tokens import mint_agent_token
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db

VALUE = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def nothing_failed_before(monkeypatch):
    monkeypatch.setattr(log_masking, "_paused_until", -math.inf)
    monkeypatch.setattr(log_masking.own, "paused_until", -math.inf, raising=False)


def broken(text):
    raise RuntimeError(text)


def line_of(text, **fields):
    """Return what is logged of an error with this text; another handler has formatted the record before."""
    logger, lines = logging.getLogger(str(uuid4())), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.extend((logging.Formatter().format(record), FieldsFormatter().format(record)))
    logger.addHandler(handler)
    try:
        broken(text)
    except RuntimeError:
        logger.exception("It broke", extra=fields)
    return lines[1]


@pytest.mark.parametrize("field", ["workspace_id", "launch_id", "path", "about"])
def test_secrets_of_the_workspace_that_a_line_names_are_masked_and_the_rest_stays(field):
    workspace = online(secrets={"KEY": VALUE})
    fields = {
        "workspace_id": workspace.pk,
        "launch_id": workspace.launch_id,
        "path": f"/workspaces/{workspace.pk}/restart",
        "about": f"LaunchKey({workspace.pk!r})",
    }
    line = line_of(f"no access with {VALUE} to /data", **{field: fields[field]})
    assert VALUE not in line
    assert "RuntimeError: no access with •••••• to /data" in line
    assert "in broken\n" in line


def test_a_credential_is_masked_in_a_line_that_names_no_workspace():
    token = mint_agent_token(online())
    line = line_of(f"refused {token} here")
    assert token not in line
    assert "RuntimeError: refused •••••• here" in line


@pytest.mark.django_db(transaction=True)
def test_a_thread_without_a_connection_is_left_without_one():
    workspace = online(secrets={"KEY": VALUE})

    def log():
        line = line_of(f"no access with {VALUE}", workspace_id=workspace.pk)
        return line, connection.connection

    with ThreadPoolExecutor(max_workers=1) as pool:
        line, left = pool.submit(log).result()
    assert "no access with ••••••" in line
    assert left is None


def test_a_failed_query_of_the_log_breaks_no_transaction_of_its_caller(monkeypatch):
    monkeypatch.setattr(
        log_masking.secrets, "readable_values", lambda ids: Workspace.objects.raw("SELECT 1/0 AS id")[0]
    )
    line = line_of(f"no access with {VALUE}", workspace_id=uuid4())
    assert VALUE not in line
    assert Workspace.objects.count() == 0


@pytest.mark.parametrize("error", [DatabaseError("away"), RuntimeError("anything")])
def test_the_text_is_left_out_if_the_secrets_can_not_be_read(monkeypatch, error):
    def fail(ids):
        raise error

    monkeypatch.setattr(log_masking.secrets, "readable_values", fail)
    line = line_of(f"no access with {VALUE}", workspace_id=uuid4())
    assert VALUE not in line
    assert line.endswith("RuntimeError (its text is left out, since the secrets in it can't be masked now)")
    assert "in broken\n" in line


@pytest.mark.parametrize("error", [DatabaseError("away"), RuntimeError("anything")])
def test_a_line_without_a_traceback_keeps_its_message_and_ids_if_the_secrets_can_not_be_read(monkeypatch, error):
    def fail(ids):
        raise error

    monkeypatch.setattr(log_masking.secrets, "readable_values", fail)
    launch_id = uuid4()
    line = warning_of("It stays: %s", VALUE, launch_id=launch_id, tries=3, detail=f"no access with {VALUE}")
    assert line.endswith(f'It stays: %s launch_id="{launch_id}" tries=3 detail="(left out)"')


def warning_of(message, *arguments, **fields):
    """Return the line of this warning."""
    record = {"name": "workspaces.tests", "msg": message, "args": arguments, "levelno": logging.WARNING}
    return FieldsFormatter().format(logging.makeLogRecord({**record, **fields}))


@pytest.mark.parametrize("spelled", [lambda key: key.hex, lambda key: str(key).upper(), lambda key: key.hex.upper()])
def test_a_workspace_is_known_however_its_id_is_spelled(spelled):
    workspace = online(secrets={"KEY": VALUE})
    assert "no access with ••••••" in warning_of(f"{spelled(workspace.pk)}: no access with {VALUE}")


@pytest.mark.parametrize("around", ["%2F{}", "%3D{}&x=1", "%22{}%22", "{}%2Frestart"])
def test_a_workspace_is_known_behind_a_percent_escape(around):
    workspace = online(secrets={"KEY": VALUE})
    assert "no access with ••••••" in warning_of(f"{around.format(workspace.pk)} no access with {VALUE}")


@pytest.mark.django_db(transaction=True)
def test_a_thread_whose_query_timed_out_does_not_wait_again_and_others_go_on(monkeypatch):
    workspace, tries = online(secrets={"KEY": VALUE}), []

    def log():
        return warning_of("It broke", launch_id=workspace.launch_id, detail=f"no access with {VALUE}")

    def time_out(*arguments):
        tries.append(arguments)
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', '1', true)")
            cursor.execute("SELECT pg_sleep(5)")

    with monkeypatch.context() as patched:
        patched.setattr(log_masking.secrets, "readable_values", time_out)
        assert [log().endswith('detail="(left out)"') for _ in range(3)] == [True] * 3
    assert len(tries) == 1
    with ThreadPoolExecutor(max_workers=1) as pool:
        assert pool.submit(log).result().endswith('detail="no access with ••••••"')
    monkeypatch.setattr(log_masking.own, "paused_until", time.monotonic())
    assert log().endswith('detail="no access with ••••••"')


@pytest.mark.django_db(transaction=True)
def test_after_a_line_that_could_not_reach_the_database_none_waits_for_it(monkeypatch):
    workspace = online(secrets={"KEY": VALUE})

    def log():
        return warning_of("It broke", launch_id=workspace.launch_id, detail=f"no access with {VALUE}")

    with monkeypatch.context() as patched, ThreadPoolExecutor(max_workers=1) as pool:
        # The other thread has no connection yet.
        patched.setitem(connection.settings_dict, "PORT", "1")
        assert pool.submit(log).result().endswith('detail="(left out)"')
    # This one has, and does not use it.
    with CaptureQueriesContext(connection) as queries:
        assert log().endswith('detail="(left out)"')
    assert not queries
    monkeypatch.setattr(log_masking, "_paused_until", log_masking._paused_until - log_masking.PAUSE_SECONDS)
    assert log().endswith('detail="no access with ••••••"')


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["pg_terminate_backend", "pg_cancel_backend"])
def test_an_error_of_one_threads_connection_keeps_no_other_line_from_being_masked(monkeypatch, end):
    workspace = online(secrets={"KEY": VALUE})

    def log():
        return warning_of("It broke", launch_id=workspace.launch_id, detail=f"no access with {VALUE}")

    def end_session(*arguments):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {end}(pg_backend_pid()), pg_sleep(5)")

    with monkeypatch.context() as patched:
        patched.setattr(log_masking.secrets, "readable_values", end_session)
        assert log().endswith('detail="(left out)"')
    with ThreadPoolExecutor(max_workers=1) as pool:
        assert pool.submit(log).result().endswith('detail="no access with ••••••"')
    monkeypatch.setattr(log_masking.own, "paused_until", time.monotonic())
    assert log().endswith('detail="no access with ••••••"')


def test_a_checksum_is_no_id_of_a_workspace(monkeypatch):
    monkeypatch.setattr(log_masking, "_paused_until", math.inf)
    checksum = f"{uuid4().hex}{uuid4().hex}"
    assert warning_of("It broke", checksum=checksum).endswith(f'checksum="{checksum}"')
    assert warning_of("It broke", launch=uuid4().hex).endswith('launch="(left out)"')


def test_a_query_that_fails_for_its_caller_alone_keeps_no_other_line_from_being_masked():
    workspace = online(secrets={"KEY": VALUE})

    def log():
        return warning_of("It broke", launch_id=workspace.launch_id, detail=f"no access with {VALUE}")

    with suppress(DatabaseError), transaction.atomic():
        with connection.cursor() as cursor, suppress(DatabaseError):
            cursor.execute("SELECT 1/0")
        assert log().endswith('detail="(left out)"')
        raise DatabaseError
    assert log().endswith('detail="no access with ••••••"')


def test_a_secret_in_the_message_or_in_a_field_is_masked():
    workspace = online(secrets={"KEY": VALUE})
    line = warning_of("It stays: %s", VALUE, launch_id=workspace.launch_id, detail=f"no access with {VALUE}")
    assert line.endswith(f'It stays: •••••• launch_id="{workspace.launch_id}" detail="no access with ••••••"')


@pytest.mark.django_db(transaction=True)
def test_what_celery_logs_of_a_task_that_raises_is_masked():
    """It writes the error into the message and again into a field."""
    workspace, app = online(secrets={"KEY": VALUE}), Celery("poisoned", broker="memory://", set_as_current=False)
    lines, handler = [], logging.Handler()
    handler.emit = lambda record: lines.append(FieldsFormatter().format(record))
    logging.getLogger("celery.app.trace").addHandler(handler)
    try:

        @app.task
        def broken(workspace_id):
            raise RuntimeError(f"no access with {VALUE}")

        build_tracer(broken.name, broken, app=app)(str(uuid4()), [], {"workspace_id": str(workspace.pk)}, {"id": "1"})
    finally:
        logging.getLogger("celery.app.trace").removeHandler(handler)
    assert "no access with ••••••" in lines[0]
    assert VALUE not in lines[0]


def test_slipways_own_keys_and_passwords_are_masked(settings):
    settings.REDIS_URL = "redis://:redis-pass%2Fword@127.0.0.1:6379/0"
    settings.EMAIL_HOST_PASSWORD = "mail-password"
    said = f"{settings.SECRET_KEY} {settings.SECRETS_KEYS[0]} redis-pass/word redis-pass%2Fword mail-password 127.0.0.1"
    assert warning_of("It broke", error=said).endswith('"•••••• •••••• •••••• •••••• •••••• 127.0.0.1"')
