"""What a process may wait for in Postgres depends on its role."""

import psycopg
import pytest
from django.db import OperationalError, connection

from postgres.errors import is_lock_timeout, is_lost_connection, is_outage
from postgres.time_limits import ProcessRole, set_process_role
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def in_role():
    """Reconnect in a role."""

    def begin(role):
        set_process_role(role)
        connection.close()

    yield begin
    begin(ProcessRole.COMMAND)


def limits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s)", [list(NAMES)])
        found = dict(cursor.fetchall())
    return [found[name] // 1000 for name in NAMES]


@pytest.mark.parametrize(
    ("role", "expected"),
    [(ProcessRole.COMMAND, [0, 0, 0]), (ProcessRole.WEB, [2, 15, 15]), (ProcessRole.WORKER, [5, 120, 120])],
)
def test_a_role_has_its_limits_and_commands_have_none(in_role, role, expected):
    in_role(role)
    assert limits() == expected


def test_commands_have_no_limits_also_if_the_database_user_has(in_role):
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        for limit in NAMES:
            cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {limit} = '9s'")
    try:
        with psycopg.connect(**connection.get_connection_params() | {"options": ""}) as plain:
            assert plain.execute("SHOW lock_timeout").fetchone()[0] == "9s"
        in_role(ProcessRole.COMMAND)
        assert limits() == [0, 0, 0]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} RESET ALL")


def test_the_limits_are_settings_and_those_of_the_database_url_win(in_role, settings, monkeypatch):
    settings.WEB_LOCK_TIMEOUT_SECONDS = 7
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", "-c statement_timeout=99s")
    in_role(ProcessRole.WEB)
    assert limits() == [7, 99, 15]


def test_a_statement_that_takes_too_long_is_an_outage_and_leaves_the_connection(in_role, settings):
    settings.WEB_STATEMENT_TIMEOUT_SECONDS = 1
    in_role(ProcessRole.WEB)
    with connection.cursor() as cursor, pytest.raises(OperationalError) as caught:
        cursor.execute("SELECT pg_sleep(30)")
    assert is_outage(caught.value)
    assert not is_lock_timeout(caught.value)
    assert not is_lost_connection(caught.value)


def test_a_transaction_in_which_nothing_happens_is_ended(in_role, settings):
    settings.WORKER_IDLE_TRANSACTION_SECONDS = 1
    in_role(ProcessRole.WORKER)
    other = connection.copy()
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()

    def has_ended():
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid])
            return cursor.rowcount == 0

    wait_until(has_ended)
    with pytest.raises(Exception, match=r"idle-in-transaction|closed") as caught, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    other.close(), connection.close()
    assert is_outage(caught.value)
    assert is_lost_connection(caught.value)
