"""Connections that Postgres ends: reads and heartbeats are repeated, and if it is really away the answer is 503."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from events.relay import number_all
from tests.callers import AgentCaller, holder
from tests.events.conftest import signed_in
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import online
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db(transaction=True)

INTERFACES = ["asgi", "wsgi"]


END_ALL_OTHERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def end_all_connections_of(server):
    """End every connection but ours at one moment, so that nothing is repeated on one that is just ending.

    Return how many there were.
    """
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        number = how_many(END_ALL_OTHERS)
        wait_until(lambda: not how_many(END_ALL_OTHERS))
    finally:
        for process in processes:
            process.resume()
    return number


def how_many(query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


class Load(threading.Thread):
    """Repeats a request until it is told to stop, and keeps the statuses."""

    def __init__(self, send):
        super().__init__(daemon=True)
        self.send, self.statuses, self.refusals, self.answered, self.is_over = send, set(), [], 0, False

    def run(self):
        while not self.is_over:
            answer = self.send()
            self.statuses.add(answer.status_code)
            self.answered += 1
            if answer.status_code != 200:
                self.refusals.append(answer.text)


@pytest.mark.parametrize("interface", INTERFACES)
def test_reads_and_heartbeats_go_on_when_all_connections_are_cut_under_load(serve_web, interface):
    agents = [AgentCaller(online()) for _ in range(3)]
    number_all()
    read, page = holder(ApiScope.READ).headers, signed_in(is_staff=True, is_superuser=True)
    client = serve_web(interface, DATABASE_POOL_WAIT_SECONDS=str(int(PATIENCE_SECONDS)))
    workspace_id = str(agents[0].workspace.pk)

    def get(path, headers):
        return lambda: client.get(path, headers=headers)

    def beat(agent):
        body = {"workspace_id": str(agent.workspace.pk)}
        return lambda: client.post("/registry/heartbeat", json=body, headers=agent.headers)

    sends = [
        get(path, read) for path in ("/workspaces", f"/workspaces/{workspace_id}", "/ready", "/metrics", "/events")
    ]
    sends += [get(f"/admin/workspaces/workspace/{workspace_id}/change/", page), *map(beat, agents)]
    loads = [Load(send) for send in sends]
    for load in loads:
        load.start()
    cut = 0
    for _ in range(5):
        # Whatever lost its connection was answered meanwhile: only one that is lost twice may be refused.
        before = [load.answered for load in loads]
        wait_until(lambda before=before: all(load.answered > n + 1 for load, n in zip(loads, before, strict=True)))
        cut += end_all_connections_of(client.process)
    for load in loads:
        load.is_over = True
    for load in loads:
        load.join()
    assert cut >= 5
    assert [load.statuses for load in loads] == [{200}] * len(loads), [load.refusals for load in loads]


@pytest.mark.parametrize("interface", INTERFACES)
def test_without_a_database_every_answer_says_when_to_come_back(serve_web, interface):
    agent = AgentCaller(online())
    workspace_id = str(agent.workspace.pk)
    session = signed_in(is_staff=True, is_superuser=True)
    client = serve_web(interface, DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/none")
    requests = [
        ("GET", "/workspaces", agent.headers, None),
        ("GET", f"/workspaces/{workspace_id}", session, None),
        ("GET", "/metrics", {}, None),
        ("GET", "/admin/", session, None),
        ("GET", "/admin/login/?next=/admin/", session, None),
        ("POST", f"/workspaces/{workspace_id}/pause", agent.headers, None),
        ("POST", "/registry/heartbeat", agent.headers, {"workspace_id": workspace_id}),
        ("POST", "/registry/register", agent.headers, {"id": workspace_id, "url": "", "agent_card": {}}),
        ("POST", f"/admin/workspaces/{workspace_id}/bootstrap-failed", agent.headers, {"error": "It broke."}),
    ]

    def send(method, path, headers, body):
        return client.request(method, path, headers=headers, json=body)

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda each: send(*each), requests))
    statuses = {path: answer.status_code for (_, path, _, _), answer in zip(requests, answers, strict=True)}
    assert statuses == dict.fromkeys(statuses, 503)
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    assert not any("127.0.0.1" in answer.text for answer in answers)
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
