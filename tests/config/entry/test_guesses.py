"""Whoever guesses credentials is slowed down, and agents that have one go on."""

import secrets
import statistics
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import product

import httpx
import pytest
from axes.models import AccessAttempt
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client

from config.api.ninja_api import api
from config.entry import guesses
from config.entry.asgi import attempt_in
from config.entry.guesses import MOST_FAILURES, Attempt, GuessThrottle, attempt_of, network_of, refusal
from events.masking.credentials import AGENT_TOKEN_PREFIX, KEY_PREFIX
from tests.callers import AgentCaller
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import online
from workspaces.access.api_keys import mint_api_key
from workspaces.access.tokens import PREFIX_CHARACTERS, random_text
from workspaces.models import ApiKey
from workspaces.operations import restart

INTERFACES = ["asgi", "wsgi"]
LOGIN = "/admin/login/?next=/admin/"


def guess_token(client):
    return client.get("/workspaces", headers={"Authorization": f"Bearer {secrets.token_urlsafe(32)}"})


def guess_heartbeat(client):
    headers = {"Authorization": f"Bearer {secrets.token_urlsafe(32)}"}
    return client.post("/registry/heartbeat", json={"workspace_id": "x"}, headers=headers)


def guess_password(client):
    """Send the form with its CSRF token, as a browser would."""
    if "csrftoken" not in client.cookies:
        client.get(LOGIN)
    form = {"username": secrets.token_hex(4), "password": "x", "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    return client.post(LOGIN, data=form)


def guess_in_handshake(client):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Authorization": f"Bearer {secrets.token_urlsafe(32)}"}
    return client.get("/ws", headers=headers)


# However slow the guesses are, those after the first few are refused.
NOTHING_IS_FORGIVEN = {"config.entry.guesses.CHECKS_PER_SECOND": 0, "config.entry.guesses.FORGIVEN_SECONDS": 1e9}
CONNECTIONS = 40
GUESSES = [*product(INTERFACES, [guess_token, guess_heartbeat, guess_password]), ("asgi", guess_in_handshake)]


def beat(client, agent):
    body = {"workspace_id": str(agent.workspace.pk)}
    answer = client.post("/registry/heartbeat", json=body, headers=agent.headers)
    return answer.status_code, answer.elapsed.total_seconds()


def assert_quick(client, calls):
    """Assert that calls, which return a status and their seconds, are answered as quickly as the machine allows.

    Between them go probes, which need no database and meet the same load.
    """
    probes, answers = [], []
    for call in calls:
        probes.append(client.get("/health").elapsed.total_seconds())
        answers.append(call())
    assert {status for status, _ in answers} == {200}
    assert statistics.median(seconds for _, seconds in answers) < 50 * statistics.median(probes) + 1, (answers, probes)


@contextmanager
def guessing(base_url, guess, *, connections):
    """Guess from this many connections at once, each as fast as it is answered; give the answers."""
    answers, is_over = [], threading.Event()

    def attack():
        with httpx.Client(base_url=base_url, timeout=PATIENCE_SECONDS, trust_env=False) as client:
            while not is_over.is_set():
                answers.append(guess(client))

    with ThreadPoolExecutor(connections) as pool:
        for _ in range(connections):
            pool.submit(attack)
        try:
            yield answers
        finally:
            is_over.set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("interface", "guess"), GUESSES)
def test_heartbeats_go_on_while_forty_connections_guess_and_few_guesses_are_checked(serve_web, interface, guess):
    agents = [AgentCaller(online()) for _ in range(3)]
    client = serve_web(interface, constants=NOTHING_IS_FORGIVEN)
    assert [beat(client, agent)[0] for agent in agents] == [200] * 3
    with guessing(client.base_url, guess, connections=CONNECTIONS) as answers:
        wait_until(lambda: len(answers) > 10 * CONNECTIONS)
        assert_quick(client, [partial(beat, client, agent) for agent in agents * 5])
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert all("Try again in" in answer.text for answer in refused)
    checked = [answer for answer in answers if answer.status_code in {200, 401}]
    assert len(checked) + len(refused) == len(answers)
    # Those that had begun when the last failure was counted may fail too.
    assert len(checked) <= MOST_FAILURES + CONNECTIONS


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
def test_a_token_that_only_addresses_without_a_login_answered_is_not_an_accepted_one(serve_web, interface):
    client = serve_web(interface, constants=NOTHING_IS_FORGIVEN, HTTPS="true")
    tokens = [{"Authorization": f"Bearer {secrets.token_urlsafe(32)}"} for _ in range(300)]

    def statuses(send):
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return {answer.status_code for answer in pool.map(send, tokens)}

    assert statuses(lambda headers: client.get("/health", headers=headers)) == {200}
    # HTTPS redirects all but the registry.
    assert statuses(lambda headers: client.get("/workspaces", headers=headers)) == {301}
    report = {"workspace_id": "x"}
    assert statuses(lambda headers: client.post("/registry/heartbeat", json=report, headers=headers)) == {401, 429}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("interface", INTERFACES)
def test_expired_keys_and_superseded_agents_lock_nobody_out(serve_web, interface):
    client, old = serve_web(interface), AgentCaller(online())
    restart(old.workspace.pk)
    row, key = mint_api_key(name="script", scopes=["read"])
    ApiKey.objects.filter(pk=row.pk).update(expires_at=row.created_at)
    for _ in range(2 * MOST_FAILURES):
        assert beat(client, old)[0] == 401
        assert client.get("/workspaces", headers={"Authorization": f"Bearer {key}"}).json()["code"] == "expired"
    assert guess_password(client).status_code == 200
    assert guess_token(client).status_code == 401


@pytest.mark.parametrize(
    ("address", "network"),
    [("::ffff:203.0.113.9", "203.0.113.9"), ("203.0.113.9", "203.0.113.9"), ("no address", "no address")],
)
def test_an_address_of_version_4_is_its_own_network_however_it_is_written(address, network):
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("sent", "is_attempt"),
    [([b"Bearer x"], True), ([b"Bearer x", b"x"], True), ([b"x", b"Bearer x"], False), ([], False)],
)
def test_of_several_authorization_headers_the_first_is_judged_as_django_does(sent, is_attempt):
    headers = [(b"host", b"h"), *((b"authorization", value) for value in sent)]
    scope = {"type": "http", "method": "GET", "path": "/workspaces", "headers": headers, "client": ("10.0.0.1", 1)}
    assert (attempt_in(scope) is not None) == is_attempt


def paths_of_the_api():
    paths = [path.replace("{workspace_id}", "x") for path in api.get_openapi_schema(path_prefix="")["paths"]]
    return [*paths, "/api/openapi.json", "/events/stream", "/workspaces/x/events/stream", "/ws"]


def test_tokens_are_counted_wherever_they_are_judged_and_nowhere_else():
    def counts(path):
        return attempt_of(method="GET", path=path, authorization=b"Bearer x", address="10.0.0.1") is not None

    assert [path for path in paths_of_the_api() if not counts(path)] == []
    others = ["/", "/health", "/ready", "/metrics", "/admin/", "/admin/workspaces/x/", "/static/x", "/api/docs"]
    assert [path for path in others if counts(path)] == []


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(guesses.time, "monotonic", lambda: Clock.now)
    return Clock


def seconds(throttle, attempt):
    """Make an attempt; return how long it has to wait."""
    wait = throttle.begin(attempt)
    if not wait:
        throttle.end(attempt)
    return wait


def fail(throttle, address, *, times, token=None):
    for number in range(times):
        throttle.record(Attempt(address, token or str(number).encode()), 401)


def test_an_address_is_refused_after_its_failures_until_they_are_forgiven(clock):
    throttle, sign_in = GuessThrottle(), Attempt("10.0.0.1", None)
    fail(throttle, "10.0.0.1", times=guesses.MOST_FAILURES - 1)
    assert seconds(throttle, sign_in) == 0
    fail(throttle, "10.0.0.1", times=1)
    assert seconds(throttle, sign_in) == 1
    assert seconds(throttle, Attempt("10.0.0.2", None)) == 0
    clock.now += guesses.FORGIVEN_SECONDS
    assert seconds(throttle, sign_in) == 0
    fail(throttle, "10.0.0.1", times=1_000)
    assert seconds(throttle, sign_in) == 1 + guesses.MOST_FAILURES * guesses.FORGIVEN_SECONDS
    clock.now += seconds(throttle, sign_in)
    assert seconds(throttle, sign_in) == 0


def test_an_accepted_token_passes_and_a_revoked_one_no_longer_does(clock):
    throttle, own = GuessThrottle(), Attempt("10.0.0.1", b"own")
    throttle.record(own, 200)
    fail(throttle, "10.0.0.1", times=100)
    assert [seconds(throttle, own) for _ in range(100)] == [0] * 100
    throttle.record(own, 401)
    assert max(seconds(throttle, own) for _ in range(100)) == 1


@pytest.mark.parametrize("status", [101, 204, 302, 304, 403, 404, 422, 429, 500, 503])
def test_only_a_success_shows_that_a_token_was_accepted(clock, status):
    throttle, own = GuessThrottle(), Attempt("10.0.0.1", b"own")
    throttle.record(own, status)
    fail(throttle, "10.0.0.1", times=100)
    is_accepted = all(seconds(throttle, own) == 0 for _ in range(100))
    assert is_accepted == (status == 204)


def test_some_unknown_tokens_of_a_refused_address_are_still_checked_each_second(clock):
    throttle = GuessThrottle()
    fail(throttle, "10.0.0.1", times=100)
    for _ in range(3):
        clock.now += 1
        passed = [number for number in range(500) if not seconds(throttle, Attempt("10.0.0.1", b"%d" % number))]
        assert len(passed) == guesses.CHECKS_PER_SECOND


def test_a_refused_guess_ends_its_connection_since_its_body_is_left_unread():
    _, headers = refusal(Attempt("10.0.0.1", b"guess"), 1)
    assert headers["Connection"] == "close"


def of_key(address, number, *, prefix=b"slw_AAAAAA"):
    return Attempt(address, b"%s %d" % (prefix, number), prefix)


def test_a_key_that_many_addresses_guess_is_checked_as_seldom_as_if_it_were_one(clock):
    throttle, addresses = GuessThrottle(), [f"10.0.{number // 250}.{number % 250}" for number in range(1_000)]
    for number, address in enumerate(addresses):
        throttle.record(of_key(address, number), 401)
    for _ in range(3):
        passed = [each for each in addresses for number in range(5) if not seconds(throttle, of_key(each, number))]
        assert len(passed) == guesses.CHECKS_PER_SECOND
        for address in addresses:
            throttle.record(of_key(address, 7), 401)
        clock.now += 1
    # Other keys and agents of these addresses go on.
    assert seconds(throttle, of_key(addresses[0], 1, prefix=b"slw_BBBBBB")) == 0
    assert seconds(throttle, Attempt(addresses[0], b"token of an agent")) == 0


def test_the_owner_of_a_key_that_others_guess_is_let_in_from_an_address_of_its_own(clock):
    throttle, owner = GuessThrottle(), of_key("10.1.1.1", 0)
    for number in range(1_000):
        throttle.record(of_key(f"10.0.{number // 250}.{number % 250}", number), 401)
        seconds(throttle, of_key("10.0.0.0", number))
    assert [seconds(throttle, owner) for _ in range(100)] == [0] * 100
    throttle.record(owner, 200)
    throttle.record(Attempt("10.1.1.1", b"a wrong one"), 401)
    assert [seconds(throttle, owner) for _ in range(100)] == [0] * 100
    # One that guessed waits no longer than for its own failure, whatever the others do.
    assert seconds(throttle, of_key("10.0.0.1", 1)) == 1
    clock.now += guesses.FORGIVEN_SECONDS
    for number in range(100):
        throttle.record(of_key("10.0.0.2", number), 401)
        seconds(throttle, of_key("10.0.0.2", number))
    assert seconds(throttle, of_key("10.0.0.2", 1)) == 1
    assert seconds(throttle, of_key("10.0.0.1", 1)) == 0


def test_only_the_public_beginning_of_an_api_key_is_its_prefix():
    def prefix_of(credential):
        found = attempt_of(method="GET", path="/workspaces", authorization=b"Bearer " + credential, address="10.0.0.1")
        return found.prefix

    key = KEY_PREFIX + random_text()
    assert prefix_of(key.encode()) == key[:PREFIX_CHARACTERS].encode()
    assert prefix_of(b"slw_") == b"slw_"
    assert prefix_of((AGENT_TOKEN_PREFIX + random_text()).encode()) == prefix_of(b"x" * 47) == b""


def test_only_a_few_passwords_are_checked_at_once():
    throttle = GuessThrottle()
    attempts = [Attempt(f"10.0.0.{number}", None) for number in range(10)]
    assert [throttle.begin(attempt) for attempt in attempts] == [0] * guesses.MOST_SIGN_INS_AT_ONCE + [1] * 8
    throttle.end(attempts[0])
    assert throttle.begin(attempts[5]) == 0


def test_the_memory_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(guesses, "_MOST_ADDRESSES", 10)
    monkeypatch.setattr(guesses, "_MOST_TOKENS", 10)
    throttle = GuessThrottle()
    for number in range(100):
        throttle.record(Attempt(f"10.0.0.{number}", b"wrong", b"slw_%d" % number), 401)
        throttle.record(Attempt("10.0.1.1", b"%d" % number), 200)
    assert len(throttle._standings) == len(throttle._prefixes) == len(throttle._known) == 10


def test_what_is_in_use_is_not_forgotten(clock, monkeypatch):
    monkeypatch.setattr(guesses, "_MOST_ADDRESSES", 10)
    monkeypatch.setattr(guesses, "_MOST_TOKENS", 10)
    throttle, own, sign_in = GuessThrottle(), Attempt("10.0.1.1", b"own"), Attempt("10.0.1.1", None)
    for number in range(100):
        throttle.record(own, 200)
        throttle.record(Attempt("10.0.0.1", b"%d" % number), 200)
        throttle.record(Attempt("10.0.1.1", b"wrong"), 401)
        throttle.record(Attempt(f"10.0.0.{number}", b"wrong"), 401)
    assert seconds(throttle, sign_in) > 1
    assert [seconds(throttle, own) for _ in range(100)] == [0] * 100


def test_threads_lose_no_failure(clock, monkeypatch):
    monkeypatch.setattr(guesses, "MOST_FAILURES", 1_000_000)
    throttle, usual = GuessThrottle(), sys.getswitchinterval()
    sys.setswitchinterval(0.000_001)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: fail(throttle, "10.0.0.1", times=5_000), range(4)))
    finally:
        sys.setswitchinterval(usual)
    assert throttle._standings["10.0.0.1"].failures == 20_000


def test_a_network_of_ipv6_is_one_address():
    one, two, other = (
        attempt_of(method="POST", path=guesses.SIGN_IN_PATH, authorization=b"", address=address)
        for address in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1")
    )
    assert one == two != other


# --- Accounts ------------------------------------------------------------------------------------


def sign_in(username, password, *, address="10.0.0.1"):
    return Client(REMOTE_ADDR=address).post(LOGIN, {"username": username, "password": password})


@pytest.fixture
def owner(db):
    return get_user_model().objects.create_user("owner", password="right", is_staff=True)


def test_an_account_is_locked_for_the_address_that_guesses_its_password_and_for_no_other(owner):
    assert [sign_in("owner", "wrong").status_code for _ in range(4)] == [200] * 4
    locked = sign_in("owner", "wrong")
    assert (locked.status_code, locked["Retry-After"]) == (429, "300")
    assert "at most 5 minutes" in locked.content.decode()
    assert sign_in("owner", "right").status_code == 429
    assert sign_in("owner", "right", address="10.0.0.2").status_code == 302
    get_user_model().objects.create_user("colleague", password="right", is_staff=True)
    assert sign_in("colleague", "right").status_code == 302


def test_a_lockout_ends_by_itself_although_the_guessing_goes_on(owner, settings):
    for _ in range(10):
        sign_in("owner", "wrong")
    AccessAttempt.objects.update(attempt_time=AccessAttempt.objects.get().attempt_time - settings.AXES_COOLOFF_TIME)
    assert sign_in("owner", "right").status_code == 302


def test_an_operator_ends_a_lockout_with_axes_reset(owner):
    for _ in range(5):
        sign_in("owner", "wrong")
    call_command("axes_reset")
    assert sign_in("owner", "right").status_code == 302
