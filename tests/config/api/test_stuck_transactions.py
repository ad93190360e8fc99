"""A transaction that someone leaves open delays the workspace whose row it locks, and nobody else."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from events.relay import number_all
from postgres.connections import connection_parameters
from tests.callers import AgentCaller
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting, online

pytestmark = pytest.mark.django_db(transaction=True)

# Each longer than a client waits, so that whoever waits for the lock is not answered while it is held.
PATIENT = dict.fromkeys(
    ["WEB_LOCK_TIMEOUT_SECONDS", "WEB_STATEMENT_TIMEOUT_SECONDS", "DATABASE_POOL_WAIT_SECONDS"],
    str(int(2 * PATIENCE_SECONDS)),
)
# What psql is left with, and what has to wait for it: a heartbeat stores itself, or brings its workspace online.
LOCKS = {
    "the heartbeat": "SELECT FROM workspaces_heartbeat WHERE workspace_id = %s FOR UPDATE",
    "the workspace": "SELECT FROM workspaces_workspace WHERE id = %s FOR UPDATE",
}


@contextmanager
def left_open(statement, workspace):
    """A transaction that holds what this statement locks."""
    parameters = {**connection_parameters(application_name="psql"), "autocommit": False}
    with psycopg.connect(**parameters) as psql:
        psql.execute(statement, [workspace.pk])
        yield
        psql.rollback()


def heartbeat(client, agent):
    return client.post("/registry/heartbeat", json={"workspace_id": str(agent.workspace.pk)}, headers=agent.headers)


def number_that_wait():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0]


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("locked", LOCKS)
def test_a_row_that_psql_keeps_locked_delays_its_own_workspace_only(serve_web, interface, locked):
    stuck, others = AgentCaller(booting()), [AgentCaller(online()) for _ in range(8)]
    # Otherwise /ready would say that no relay runs.
    number_all()
    client = serve_web(interface, **PATIENT)
    with ThreadPoolExecutor(23) as pool:
        with left_open(LOCKS[locked], stuck.workspace):
            waiting = [pool.submit(heartbeat, client, stuck) for _ in range(12)]
            wait_until(number_that_wait)
            quick = [pool.submit(heartbeat, client, agent) for agent in others]
            quick += [pool.submit(client.get, path) for path in ("/ready", "/health", "/workspaces")]
            # /workspaces needs a key.
            assert [each.result().status_code for each in quick] == [200] * 10 + [401]
            assert number_that_wait()
        waiting = [each.result().status_code for each in waiting]
    assert set(waiting) <= {200, 503}
    assert 200 in waiting


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("locked", LOCKS)
def test_whoever_waits_for_a_lock_too_long_is_told_when_to_come_back(serve_web, interface, locked):
    stuck = AgentCaller(booting())
    client = serve_web(interface, **{**PATIENT, "WEB_LOCK_TIMEOUT_SECONDS": "1"})
    with left_open(LOCKS[locked], stuck.workspace), ThreadPoolExecutor(12) as pool:
        refused = list(pool.map(lambda _: heartbeat(client, stuck), range(12)))
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 and answer.json()["error"] for answer in refused)
    assert heartbeat(client, stuck).status_code == 200
