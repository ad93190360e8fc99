"""A transaction that someone leaves open delays the workspace whose row it locks, and nobody else."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from events.relay import number_all
from postgres.connections import connection_parameters
from tests.callers import AgentCaller
from tests.waiting import wait_until
from tests.workspaces.factories import booting, online

pytestmark = pytest.mark.django_db(transaction=True)

LOCK_SECONDS = 6
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


def timed(call, *arguments):
    answer = call(*arguments)
    return time.monotonic(), answer


def number_that_wait():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("locked", LOCKS)
def test_a_row_that_psql_keeps_locked_delays_its_own_workspace_only(serve_web, interface, locked):
    stuck, others = AgentCaller(booting()), [AgentCaller(online()) for _ in range(8)]
    # Otherwise /ready would say that no relay runs.
    number_all()
    client = serve_web(interface, WEB_LOCK_TIMEOUT_SECONDS=str(LOCK_SECONDS))
    with left_open(LOCKS[locked], stuck.workspace), ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(timed, heartbeat, client, stuck) for _ in range(12)]
        wait_until(number_that_wait)
        quick = [pool.submit(timed, heartbeat, client, agent) for agent in others]
        quick += [pool.submit(timed, client.get, path) for path in ("/ready", "/health", "/workspaces")]
        quick = [each.result() for each in quick]
        waiting = [each.result() for each in waiting]
    assert {answer.status_code for _, answer in waiting} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 and answer.json()["error"] for _, answer in waiting)
    # /workspaces needs a key.
    assert {answer.status_code for _, answer in quick} == {200, 401}
    assert max(ended for ended, _ in quick) < max(ended for ended, _ in waiting)
    assert heartbeat(client, stuck).status_code == 200
