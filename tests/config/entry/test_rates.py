"""Each credential may call so often, is told what is left, and takes nothing from others."""

import re
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from config.entry import rates
from config.entry.guesses import Attempt
from config.entry.rates import Caller, Policy, RateLimiter, caller_of
from tests.callers import AgentCaller
from tests.waiting import wait_until
from tests.workspaces.factories import online
from workspaces.access.api_keys import mint_api_key

INTERFACES = ["asgi", "wsgi"]
AGENT = Caller(Policy.AGENTS, b"one")


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(rates.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_window_begins_with_its_first_call_and_the_headers_say_what_is_left(clock, settings):
    settings.AGENT_CALLS_PER_MINUTE = 3
    limiter, clock.now = RateLimiter(), 1000.0
    assert limiter.count(AGENT).headers == {
        "RateLimit-Policy": '"agents";q=3;w=60',
        "RateLimit": '"agents";r=2;t=60',
    }
    clock.now += 20.5
    assert [limiter.count(AGENT).calls for _ in range(4)] == [1, 0, -1, -2]
    assert limiter.count(AGENT).headers["RateLimit"] == '"agents";r=0;t=40'
    clock.now += 39.5
    assert limiter.count(AGENT).calls == 2


def test_credentials_and_what_they_are_used_for_are_counted_apart(clock, settings):
    settings.AGENT_CALLS_PER_MINUTE, settings.OPERATOR_CALLS_PER_MINUTE = 1, 2
    limiter = RateLimiter()
    callers = [AGENT, Caller(Policy.AGENTS, b"two"), Caller(Policy.OPERATORS, b"one")]
    assert [limiter.count(caller).calls for caller in callers] == [0, 0, 1]
    assert [limiter.count(caller).calls for caller in callers] == [-1, -1, 0]


def test_0_means_no_limit(settings):
    settings.AGENT_CALLS_PER_MINUTE = 0
    assert [RateLimiter().count(caller) for caller in (AGENT, None)] == [None, None]


def test_the_memory_is_bounded_and_who_calls_is_not_forgotten(clock, settings, monkeypatch):
    monkeypatch.setattr(rates, "_MOST_CALLERS", 10)
    limiter = RateLimiter()
    for number in range(100):
        limiter.count(AGENT)
        limiter.count(Caller(Policy.AGENTS, b"%d" % number))
    assert len(limiter._windows) == 10
    assert limiter.count(AGENT).calls == settings.AGENT_CALLS_PER_MINUTE - 101


def test_threads_lose_no_call(clock, settings):
    settings.AGENT_CALLS_PER_MINUTE = 100_000
    limiter, usual = RateLimiter(), sys.getswitchinterval()
    sys.setswitchinterval(0.000_001)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: [limiter.count(AGENT) for _ in range(5000)], range(4)))
    finally:
        sys.setswitchinterval(usual)
    assert limiter.count(AGENT).calls == 100_000 - 20_001


@pytest.mark.parametrize(
    ("path", "token", "cookie", "policy"),
    [
        ("/registry/heartbeat", b"t", "", Policy.AGENTS),
        ("/workspaces/x", b"t", "", Policy.OPERATORS),
        ("/workspaces/x", None, "a=b; sessionid=s", Policy.OPERATORS),
        ("/ws", None, "sessionid=s", Policy.OPERATORS),
        ("/workspaces/x", None, "a=b", None),
        ("/workspaces/x", None, "", None),
        # Pages fetch themselves again at each event.
        ("/admin/workspaces/workspace/", None, "sessionid=s", None),
        ("/static/x.js", None, "sessionid=s", None),
        ("/health", None, "", None),
    ],
)
def test_calls_are_counted_where_a_credential_is_taken(path, token, cookie, policy):
    attempt = Attempt("10.0.0.1", token) if token else None
    caller = caller_of(path=path, attempt=attempt, cookie=cookie)
    assert (caller.policy if caller else None) == policy


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
def test_who_calls_too_often_is_refused_until_the_minute_ends_and_nobody_else_is(serve_web, interface):
    eager, other = AgentCaller(online()), AgentCaller(online())
    _, key = mint_api_key(name="script", scopes=["read"])
    client = serve_web(interface, AGENT_CALLS_PER_MINUTE="3", OPERATOR_CALLS_PER_MINUTE="4")

    def beat(agent):
        body = {"workspace_id": str(agent.workspace.pk)}
        return client.post("/registry/heartbeat", json=body, headers=agent.headers)

    answers = [beat(eager) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Policy"] for answer in answers] == ['"agents";q=3;w=60'] * 4
    assert [re.match('"agents";r=([0-9]+);t=', answer.headers["RateLimit"])[1] for answer in answers] == [*"2100"]
    refused = answers[-1]
    wait = int(refused.headers["Retry-After"])
    assert refused.headers["RateLimit"] == f'"agents";r=0;t={wait}'
    assert refused.json() == {
        "error": f"This credential made more than 3 calls in 60 seconds. Try again in {wait} seconds.",
        "code": "rate_limited",
    }
    assert beat(other).status_code == 200
    read = [client.get("/workspaces", headers={"Authorization": f"Bearer {key}"}) for _ in range(5)]
    assert [answer.status_code for answer in read] == [200] * 4 + [429]
    assert read[-1].headers["RateLimit-Policy"] == '"operators";q=4;w=60'
    # The agent's token reads its own workspace, which is another policy.
    own = client.get(f"/workspaces/{eager.workspace.pk}", headers=eager.headers)
    assert (own.status_code, own.headers["RateLimit"][:12]) == (200, '"operators";')
    assert client.get("/health").headers.get("RateLimit") is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
def test_a_session_is_a_credential_too(serve_web, interface):
    browser = Client()
    browser.force_login(get_user_model().objects.create_superuser("ann"))
    client = serve_web(interface, OPERATOR_CALLS_PER_MINUTE="2")
    cookies = {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"}
    assert [client.get("/workspaces", headers=cookies).status_code for _ in range(3)] == [200, 200, 429]
    assert [client.get("/admin/", headers=cookies).status_code for _ in range(3)] == [200] * 3


@pytest.mark.django_db(transaction=True)
def test_a_live_stream_beyond_the_rate_is_refused_before_it_opens(serve_web):
    _, key = mint_api_key(name="console", scopes=["read"])
    headers = {"Authorization": f"Bearer {key}"}
    client = serve_web("asgi", OPERATOR_CALLS_PER_MINUTE="1")
    with client.stream("GET", "/events/stream", headers=headers) as stream:
        assert (stream.status_code, stream.headers["RateLimit"][:15]) == (200, '"operators";r=0')
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    assert client.get("/events/stream", headers=headers).status_code == 429
    assert client.get("/ws", headers=headers | upgrade).status_code == 429


def left_of(answer):
    """Return the policy of an answer, and how many calls it says are left."""
    return re.match('"([a-z]+)";r=([0-9]+);t=', answer.headers["RateLimit"]).groups()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
def test_agents_and_operators_that_flood_are_each_refused_by_their_own_limit_and_others_go_on(serve_web, interface):
    limits = {"AGENT_CALLS_PER_MINUTE": "20", "OPERATOR_CALLS_PER_MINUTE": "30"}
    # No minute ends during the test.
    client = serve_web(interface, constants={"config.entry.rates.WINDOW_SECONDS": 3600}, **limits)
    agents = {name: AgentCaller(online()) for name in ("eager agent", "calm agent")}
    keys = {name: mint_api_key(name=name, scopes=["read"])[1] for name in ("eager script", "calm script")}

    def call(name):
        if agent := agents.get(name):
            body = {"workspace_id": str(agent.workspace.pk)}
            return client.post("/registry/heartbeat", json=body, headers=agent.headers)
        return client.get("/workspaces", headers={"Authorization": f"Bearer {keys[name]}"})

    calls = {"eager agent": 60, "eager script": 90, "calm agent": 15, "calm script": 15}
    with ThreadPoolExecutor(len(calls)) as pool:
        begun = {name: pool.submit(lambda name=name: [call(name) for _ in range(calls[name])]) for name in calls}
        answers = {name: results.result() for name, results in begun.items()}
    accepted = {name: sum(answer.status_code == 200 for answer in given) for name, given in answers.items()}
    assert accepted == {"eager agent": 20, "eager script": 30, "calm agent": 15, "calm script": 15}
    refused = [answer for given in answers.values() for answer in given if answer.status_code != 200]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "rate_limited")}
    assert all(0 < int(answer.headers["Retry-After"]) <= 3600 for answer in refused)
    # Each credential is told what is left of its own calls.
    assert sorted(left_of(answer) for answer in answers["calm agent"]) == sorted(
        ("agents", str(left)) for left in range(5, 20)
    )
    assert min(int(left_of(answer)[1]) for answer in answers["calm script"]) == 15
    assert {left_of(answer) for answer in refused} == {("agents", "0"), ("operators", "0")}


@pytest.mark.django_db(transaction=True)
def test_each_of_two_web_workers_counts_for_itself(serve_web):
    constants = {"config.entry.rates.WINDOW_SECONDS": 3600}
    client = serve_web("wsgi", workers=2, constants=constants, OPERATOR_CALLS_PER_MINUTE="20")
    _, key = mint_api_key(name="script", scopes=["read"])
    # Each on a connection of its own, so that both get some, sooner or later.
    headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
    left, codes = Counter(), set()

    def both_answered():
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: client.get("/templates", headers=headers), range(100)))
        left.update(left_of(answer)[1] for answer in answers if answer.status_code == 200)
        codes.update(answer.status_code for answer in answers)
        return 2 in left.values()

    wait_until(both_answered)
    # Twice as often in all, as docs/how-to/deploy.md says, and each worker no more than the limit.
    assert 20 < left.total() <= 40
    assert set(left.values()) <= {1, 2}
    assert codes == {200, 429}
