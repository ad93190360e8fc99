"""Agents' reports go on while operators' calls flood a server that stands still for them, and the other way round."""

import asyncio
import itertools
import time
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest

from config.entry.bodies import TurnedAway
from config.entry.rates import Policy
from config.entry.shares import Shares
from postgres.connections import connection_parameters
from tests.callers import AgentCaller
from tests.config.api.test_stuck_transactions import PATIENT, number_that_wait
from tests.config.entry.test_guesses import CONNECTIONS, assert_quick, guessing
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import online
from workspaces.access.api_keys import mint_api_key

LOCKS = {
    Policy.OPERATORS: "SELECT FROM workspaces_workspace WHERE id = ANY(%s) FOR UPDATE",
    Policy.AGENTS: "SELECT FROM workspaces_heartbeat WHERE workspace_id = ANY(%s) FOR UPDATE",
}


class Callers:
    """Agents of several workspaces, and a script that changes each of them."""

    def __init__(self, *, pages, registry):
        self.pages, self.registry = pages, registry
        self.agents = [AgentCaller(online()) for _ in range(CONNECTIONS)]
        _, key = mint_api_key(name="script", scopes=["operate"])
        self.headers = {"Authorization": f"Bearer {key}"}
        self._turn = itertools.count()

    def server_of(self, kind):
        return self.registry if kind is Policy.AGENTS else self.pages

    def call(self, kind, client, agent=None):
        agent = agent or self.agents[next(self._turn) % CONNECTIONS]
        if kind is Policy.AGENTS:
            body = {"workspace_id": str(agent.workspace.pk)}
            return client.post("/registry/heartbeat", json=body, headers=agent.headers)
        return client.patch(f"/workspaces/{agent.workspace.pk}", json={"x": 1}, headers=self.headers)

    def timed(self, kind, agent):
        answer = self.call(kind, self.server_of(kind), agent)
        return answer.status_code, answer.elapsed.total_seconds()


@pytest.fixture(params=["asgi", "wsgi"])
def callers(request, serve_web):
    """One ASGI process as in `make up`, or two kinds of WSGI processes as the deployment page says."""
    # No agent and no script is refused for its rate, so only the shares help.
    variables = {**PATIENT, "AGENT_CALLS_PER_MINUTE": "0", "OPERATOR_CALLS_PER_MINUTE": "0"}
    pages = serve_web(request.param, **variables)
    registry = pages if request.param == "asgi" else serve_web("wsgi", **variables)
    return Callers(pages=pages, registry=registry)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("flooding", list(Policy))
def test_a_flood_of_one_kind_that_stands_still_starves_nobody_of_the_other(callers, flooding):
    other = Policy.OPERATORS if flooding is Policy.AGENTS else Policy.AGENTS
    spared = AgentCaller(online())
    locked = [agent.workspace.pk for agent in callers.agents]
    callers.timed(other, spared)
    with psycopg.connect(**{**connection_parameters(application_name="psql"), "autocommit": False}) as psql:
        psql.execute(LOCKS[flooding], [locked])
        with guessing(
            callers.server_of(flooding).base_url, lambda client: callers.call(flooding, client), connections=CONNECTIONS
        ) as answers:
            # Every thread, or every turn, of the flooded kind.
            wait_until(lambda: number_that_wait() >= 4)
            try:
                # Nothing gives back what the flood has taken while the rows are locked.
                for _ in range(20):
                    assert callers.timed(other, spared)[0] == 200
                assert number_that_wait() >= 4
            finally:
                psql.rollback()
            wait_until(lambda: answers)
    assert {answer.status_code for answer in answers} <= {200, 503}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("flooding", list(Policy))
def test_a_flood_of_quick_calls_of_one_kind_leaves_the_other_quick(callers, flooding):
    other = Policy.OPERATORS if flooding is Policy.AGENTS else Policy.AGENTS
    spared = AgentCaller(online())
    callers.timed(other, spared)
    with guessing(
        callers.server_of(flooding).base_url, lambda client: callers.call(flooding, client), connections=CONNECTIONS
    ) as answers:
        wait_until(lambda: len(answers) > 2 * CONNECTIONS)
        assert_quick(callers.server_of(other), [partial(callers.timed, other, spared)] * 20)
    assert 200 in {answer.status_code for answer in answers}


async def nothing():
    """Take no time."""


async def served(shares, path, work):
    """Serve one request; `work` is what is done before the answer begins. Return what was sent."""
    sent = []

    async def application(_scope, receive, send):
        await receive()
        await work()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message["type"])

    await shares.serve(application, {"type": "http"}, receive, send, path=path)
    return sent


def test_calls_of_a_kind_take_turns_and_probes_need_none(settings):
    settings.DATABASE_POOL_SIZE, settings.DATABASE_POOL_WAIT_SECONDS = 4, 0.2

    async def scenario():
        shares, may_end = Shares(), asyncio.Event()
        working = [asyncio.create_task(served(shares, "/workspaces", may_end.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TurnedAway, match="Too many calls"):
            await served(shares, "/admin/", may_end.wait)
        settings.DATABASE_POOL_WAIT_SECONDS = PATIENCE_SECONDS
        for path in ("/registry/heartbeat", "/health", "/static/x.js"):
            assert await served(shares, path, nothing) == ["http.response.start", "http.response.body"]
        waiting = asyncio.create_task(served(shares, "/workspaces", nothing))
        await asyncio.sleep(0)
        may_end.set()
        assert len(await waiting) == len(await working[0]) == 2
        await working[1]
        # Every turn was given back.
        assert len(await served(shares, "/workspaces", nothing)) == 2

    asyncio.run(scenario())


@pytest.mark.django_db(transaction=True)
def test_streams_that_have_nothing_to_say_take_no_turns(serve_web):
    client = serve_web("asgi", DATABASE_POOL_SIZE="4")
    agent = AgentCaller(online())
    _, key = mint_api_key(name="console", scopes=["read"])
    reader = {"Authorization": f"Bearer {key}"}
    quiet = ["/events/stream", f"/workspaces/{agent.workspace.pk}/logs?follow=true"]
    with ExitStack() as streams:
        for path in quiet * 4:
            stream = streams.enter_context(client.stream("GET", path, headers=reader))
            assert stream.status_code == 200
        # Longer than a call waits for its turn.
        time.sleep(4)
        wait_until(lambda: client.get("/workspaces", headers=reader).status_code == 200)
