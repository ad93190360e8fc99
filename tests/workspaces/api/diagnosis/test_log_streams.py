"""Followed logs on a real ASGI server: live, masked, resumed, and over when the launch is."""

import asyncio
import json
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from config.stream_access import require_log_reader
from postgres.clock import database_now
from tests.events.conftest import serve, server
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting, external, running_on
from workspaces.access.api_keys import mint_api_key
from workspaces.access.authentication import bearer_token
from workspaces.access.secrets import put_secrets
from workspaces.access.tokens import digest, mint_agent_token, random_text
from workspaces.api.diagnosis.log_streams import LogLimits, LogStreams
from workspaces.models import AgentToken, ApiKey, Launch, LaunchOutcome
from workspaces.operations import restart
from workspaces.provisioners.registry import get_provisioner

__all__ = ["serve", "server"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def backend(settings):
    settings.PROVISIONER = "simulated"
    return get_provisioner("simulated")


@pytest.fixture
def workspace(backend):
    workspace = booting()
    workspace.key = running_on(backend, workspace)
    return workspace


@pytest.fixture
def key():
    return mint_api_key(name="reader", scopes=["read"])[1]


@contextmanager
def following(server, workspace, credential, *, headers=None, **query):
    options = {"timeout": PATIENCE_SECONDS, "trust_env": False}
    headers = {"Authorization": f"Bearer {credential}", **(headers or {})}
    url = f"{server.origin}/workspaces/{workspace.pk}/logs"
    with httpx.stream("GET", url, params={"follow": "true", **query}, headers=headers, **options) as answer:
        yield answer


SSE = {"Accept": "text/event-stream"}


def blocks(answer):
    """Yield the blocks of server-sent events as dicts, without comments and the first one."""
    block = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            block[name] = f"{block[name]}\n{value}" if name in block else value
        elif block:
            if set(block) - {"", "retry"}:
                yield block
            block = {}


def test_lines_arrive_as_they_are_written_and_the_end_with_the_process(server, workspace, backend, key):
    put_secrets({"TOKEN": "hunter2-hunter2"}, workspace_id=workspace.pk)
    backend.append_log(workspace.key, "before\n")
    with following(server, workspace, key) as answer:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        lines = answer.iter_lines()
        assert next(lines) == "before"
        backend.append_log(workspace.key, "with hunter2-hunter2\n")
        assert next(lines) == "with ••••••"
        backend.simulate_exit(workspace.key, exit_code=0, log_tail="last words")
        assert list(lines) == ["last words"]


def test_events_are_resumed_from_their_id(server, workspace, backend, key):
    backend.append_log(workspace.key, "one\ntwo\n")
    with following(server, workspace, key, headers=SSE) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        first = next(blocks(answer))
    assert first == {"id": f"8@{workspace.launch_id}", "data": "one\ntwo"}
    backend.append_log(workspace.key, "three\n")
    for headers, query in (({"Last-Event-ID": first["id"]}, {}), ({}, {"after": "8"})):
        with following(server, workspace, key, headers={**SSE, **headers}, **query) as answer:
            assert next(blocks(answer))["data"] == "three"


def test_the_end_says_why_and_a_new_launch_is_read_from_its_beginning(server, workspace, backend, key):
    backend.append_log(workspace.key, "of the first\n")
    with following(server, workspace, key, headers=SSE) as answer:
        events = blocks(answer)
        first = next(events)
        restart(workspace.pk)
        end = next(events)
    assert (end["event"], json.loads(end["data"])) == ("end", {"reason": "Another launch has begun."})
    workspace.refresh_from_db()
    second = running_on(backend, workspace)
    backend.append_log(second, "of the second\n")
    with following(server, workspace, key, headers={**SSE, "Last-Event-ID": first["id"]}) as answer:
        assert next(blocks(answer))["data"] == "of the second"


def register(server, workspace):
    body = {"id": str(workspace.pk), "url": "http://localhost:9", "agent_card": {}}
    headers = {"Authorization": f"Bearer {mint_agent_token(workspace)}"}
    url = f"{server.origin}/registry/register"
    answer = httpx.post(url, json=body, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200, answer.text


def test_the_boot_is_over_when_its_agent_is_online(server, workspace, backend, key):
    backend.append_log(workspace.key, "booting\n")
    with following(server, workspace, key, stream="boot") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "booting"
        register(server, workspace)
        backend.append_log(workspace.key, "serving\n")
        assert list(lines) == []


def test_what_the_agent_writes_begins_when_it_is_online(server, workspace, backend, key):
    backend.append_log(workspace.key, "booting\n")
    with following(server, workspace, key, stream="agent") as answer:
        lines = answer.iter_lines()
        register(server, workspace)
        backend.append_log(workspace.key, "serving\n")
        assert next(lines) == "serving"
        backend.simulate_exit(workspace.key, exit_code=0, log_tail="last words")
        assert list(lines) == ["last words"]


def test_each_part_is_resumed_by_ids_of_the_whole_log(server, workspace, backend, key):
    backend.append_log(workspace.key, "one\ntwo\n")
    register(server, workspace)
    backend.append_log(workspace.key, "three\nfour\n")

    def first_event(stream, last_id):
        headers = {**SSE, "Last-Event-ID": last_id}
        with following(server, workspace, key, headers=headers, stream=stream) as answer:
            event = next(blocks(answer))
            return event.get("id"), event["data"]

    launch = workspace.launch_id
    ended = (None, '{"reason": "The boot has ended; the workspace is online."}')
    assert first_event("boot", "0") == (f"8@{launch}", "one\ntwo")
    assert first_event("boot", f"4@{launch}") == (f"8@{launch}", "two")
    for behind in ("8", "14", "100"):
        assert first_event("boot", f"{behind}@{launch}") == ended
    for before in ("0", "4", "8"):
        assert first_event("agent", f"{before}@{launch}") == (f"19@{launch}", "three\nfour")
    assert first_event("agent", f"14@{launch}") == (f"19@{launch}", "four")


def test_a_log_that_can_not_be_divided_is_refused_before_the_first_byte_or_ends_the_stream(
    server, workspace, backend, key
):
    backend.append_log(workspace.key, "booting\n")
    for stream in ("boot", "agent"):
        Launch.objects.update(outcome=LaunchOutcome.IN_FLIGHT)
        with following(server, workspace, key, headers=SSE, stream=stream) as answer:
            events = blocks(answer)
            if stream == "boot":
                assert next(events)["data"] == "booting"
            # As it came online before this was kept.
            Launch.objects.update(outcome=LaunchOutcome.ONLINE)
            end = next(events)
            assert (end["event"], "can't be divided" in end["data"]) == ("end", True)
        with following(server, workspace, key, headers=SSE, stream=stream) as refused:
            refused.read()
            assert (refused.status_code, refused.json()["code"]) == (409, "log_undivided")
    with following(server, workspace, key) as answer:
        assert next(answer.iter_lines()) == "booting"


def test_a_boot_that_is_not_kept_any_more_and_a_log_that_became_shorter_end_the_stream(server, workspace, backend, key):
    backend.append_log(workspace.key, "booting\n")
    register(server, workspace)
    backend.append_log(workspace.key, ("y" * 99 + "\n") * 1400)
    with following(server, workspace, key, headers=SSE, stream="boot") as answer:
        assert "not kept any more" in next(blocks(answer))["data"]
    backend.simulate_loss(workspace.key)
    running_on(backend, workspace)
    backend.append_log(workspace.key, "new\n")
    for stream in ("boot", "agent"):
        with following(server, workspace, key, headers=SSE, stream=stream) as answer:
            assert "is shorter than it was" in next(blocks(answer))["data"]


def test_an_external_workspace_has_no_log_in_either_part(server, key):
    for stream in ("boot", "agent"):
        with following(server, external(url="http://localhost:9"), key, headers=SSE, stream=stream) as answer:
            assert "runs no process" in next(blocks(answer))["data"]


def test_a_quiet_log_is_kept_alive(server, workspace, key):
    with following(server, workspace, key, headers=SSE) as answer:
        lines = [line for line, _ in zip((line for line in answer.iter_lines() if line), range(3), strict=False)]
    assert lines == ["retry: 2000", ": keep-alive", ": keep-alive"]


def test_a_revoked_key_ends_it(server, workspace, key):
    with following(server, workspace, key, headers=SSE) as answer:
        ApiKey.objects.update(revoked_at=database_now())
        assert "reason" in json.loads(next(blocks(answer))["data"])


def test_only_so_many_are_followed_at_once_and_those_who_leave_make_room(server, workspace, key):
    def status():
        with following(server, workspace, key) as answer:
            return answer.status_code

    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(following(server, workspace, key))
        with following(server, workspace, key) as refused:
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    wait_until(lambda: status() == 200)


def test_agents_take_no_streams_from_operators_and_no_agent_takes_those_of_the_others(server, workspace, key):
    mine, *others = ((each, mint_agent_token(each)) for each in (workspace, booting(), booting()))

    def status(target, credential):
        with following(server, target, credential) as answer:
            return answer.status_code

    with following(server, *mine), following(server, workspace, key):
        assert status(*mine) == 503
        # The place of another agent is free again once the server notices that it has left.
        for other in others:
            wait_until(lambda other=other: status(*other) == 200)
        assert status(workspace, key) == 200


def test_all_tokens_of_an_agent_share_its_streams_also_those_that_an_earlier_version_minted(server, workspace):
    old = random_text()
    AgentToken.objects.create(workspace=workspace, launch_id=workspace.launch_id, digest=digest(old))
    with following(server, workspace, mint_agent_token(workspace)) as answer:
        assert answer.status_code == 200
        for credential in (mint_agent_token(workspace), old):
            with following(server, workspace, credential) as refused:
                assert refused.status_code == 503


class SlowLookUps:
    """Followed logs in this process. The look-ups of some credentials end only when they may."""

    def __init__(self, workspace, slow, **limits):
        self._path, self._slow = f"/workspaces/{workspace.pk}/logs", slow
        self._streams = LogStreams(authorize=self._authorize, limits=LogLimits(**limits))
        self._may_end = threading.Event()
        self._calls = []

    def _authorize(self, request, workspace_id):
        if bearer_token(request) in self._slow:
            assert self._may_end.wait(PATIENCE_SECONDS)
        return require_log_reader(request, workspace_id)

    def call(self, credential):
        """Begin a call, and return the future of its status."""
        status, headers = (
            asyncio.get_running_loop().create_future(),
            [(b"authorization", f"Bearer {credential}".encode())],
        )
        scope = {"type": "http", "method": "GET", "path": self._path, "query_string": b"follow=1", "headers": headers}

        async def send(message):
            if message["type"] == "http.response.start":
                status.set_result(message["status"])

        stays = asyncio.Event()
        self._calls.append(
            asyncio.create_task(self._streams({**scope, "server": ("testserver", 80)}, stays.wait, send))
        )
        return status

    def play(self, scene):
        """Run a scene, then end all its calls."""

        async def run():
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await scene()
            finally:
                self._may_end.set()
                for call in self._calls:
                    call.cancel()
                await asyncio.gather(*self._calls, return_exceptions=True)

        asyncio.run(run())

    async def end_look_ups(self, statuses):
        """Let the look-ups end, and return how often each status came."""
        self._may_end.set()
        return Counter(await asyncio.gather(*statuses))


def test_an_agent_that_is_looked_up_slowly_takes_no_streams_from_operators(workspace, key):
    token = mint_agent_token(workspace)
    slow = SlowLookUps(workspace, {token}, most_streams=4, most_of_agents=2, most_of_one_agent=1)

    async def scene():
        of_agent = [slow.call(token) for _ in range(8)]
        assert await slow.call(key) == 200
        assert await slow.end_look_ups(of_agent) == {200: 1, 503: 7}
        assert await slow.call(key) == 200

    slow.play(scene)


def test_pending_look_ups_are_bounded_for_each_credential_and_for_all(workspace, key):
    token, made_up = mint_agent_token(workspace), ["made up", "made up, too"]
    limits = {"most_checks": 4, "most_checks_of_one_credential": 2, "most_checks_at_once": 1}
    slow = SlowLookUps(workspace, {token, *made_up}, **limits)

    async def scene():
        pending = [slow.call(token), slow.call(token)]
        assert await slow.call(token) == 503
        pending += map(slow.call, made_up)
        # All of them are pending, so nothing more is looked up until one has ended.
        assert await slow.call(key) == 503
        assert await slow.end_look_ups(pending) == {200: 2, 401: 2}
        assert await slow.call(key) == 200

    slow.play(scene)


@pytest.mark.parametrize(
    "path", ["/workspaces/{id}/logs?follow=true", "/events/stream?", "/workspaces/{id}/events/stream?"]
)
def test_a_stream_with_too_many_parameters_is_refused(server, workspace, key, path):
    url = f"{server.origin}{path.format(id=workspace.pk)}{'&a=1' * 1500}"
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_who_may_not_read_it_or_asks_wrongly_is_refused_before_the_first_byte(server, workspace, key):
    other, watch = mint_agent_token(booting()), mint_api_key(name="w", scopes=["watch"])[1]
    for credential, status in (("nonsense", 401), (other, 403), (watch, 403), (mint_agent_token(workspace), 200)):
        with following(server, workspace, credential) as answer:
            assert answer.status_code == status
    for query, field in (
        ({"stream": "x"}, "stream"),
        ({"after": "-1"}, "after"),
        ({"after": "1@x"}, "after"),
        ({"steam": "boot"}, "steam"),
    ):
        with following(server, workspace, key, **query) as answer:
            answer.read()
            assert (answer.status_code, list(answer.json()["fields"])) == (422, [field])
    for unknown in ("x", "00000000-0000-0000-0000-000000000000"):
        url = f"{server.origin}/workspaces/{unknown}/logs?follow=1"
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.get(url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
