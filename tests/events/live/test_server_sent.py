"""The live stream from a real ASGI server, as a client sees it."""

import json
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import httpx
import pytest
from django.db import connection
from django.test import Client

from events.live.stream_hub import Limits
from events.models import PositionCounter
from tests.events.conftest import WORD, online, own_backends, producing, publish, record, signed_in
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_arrives_live_in_the_contract_s_envelope(server):
    workspace_id = uuid4()
    with server.stream() as stream:
        (row,) = publish(online(workspace_id, version=4, payload={"url": "http://a", "text": "two\nlines ü"}))
        position, message = stream.message()
    row.refresh_from_db()
    assert position == row.position == 1
    assert message == {
        "event": "WORKSPACE_ONLINE",
        "workspace_id": str(workspace_id),
        "timestamp": row.created_at.isoformat().replace("+00:00", "Z"),
        "payload": {"url": "http://a", "text": "two\nlines ü", "version": 4},
        "position": 1,
        "version": 4,
    }


def test_an_event_travels_from_the_outbox_through_the_relay_to_the_client(server, start_relay):
    start_relay()
    with server.stream() as stream:
        for position in range(1, 6):
            record(online())
            assert stream.message()[0] == position


def test_the_headers_keep_proxies_from_buffering(server):
    with server.stream() as stream:
        headers = stream.response.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Accel-Buffering"] == "no"


def test_a_new_client_starts_at_the_end_of_the_log(server):
    publish(online(), online())
    with server.stream() as stream:
        publish(online())
        assert stream.message()[0] == 3


def test_a_stream_says_first_where_it_begins(server):
    publish(online(), online())
    for options, begin in (({}, 2), ({"params": {"after": "1"}}, 1), ({"headers": {**WORD, "Last-Event-ID": "0"}}, 0)):
        with server.stream(**options) as stream:
            assert stream.begin == begin


def test_a_client_resumes_after_its_snapshot_and_then_follows_live(server):
    publish(*[online() for _ in range(5)])
    with server.stream(params={"after": "2"}) as stream:
        assert stream.positions(3) == [3, 4, 5]
        publish(online())
        assert stream.message()[0] == 6


def test_the_header_of_a_browser_that_reconnects_overrides_the_url(server):
    publish(*[online() for _ in range(5)])
    with server.stream(params={"after": "1"}, headers={**WORD, "Last-Event-ID": "4"}) as stream:
        assert stream.message()[0] == 5


def test_a_client_that_reconnects_misses_none_of_three_hundred_events(server):
    seen = []
    with server.stream() as stream:
        for _ in range(10):
            publish(*[online() for _ in range(10)])
            seen += stream.positions(10)
    publish(*[online() for _ in range(100)])
    with server.stream(headers={**WORD, "Last-Event-ID": str(seen[-1])}) as stream:
        for _ in range(10):
            publish(*[online() for _ in range(10)])
        seen += stream.positions(200)
    assert seen == list(range(1, 301))


def test_an_event_that_commits_late_reaches_live_clients_and_those_that_resume(server, start_relay):
    start_relay()
    with server.stream() as stream, producing(online()) as late:
        (early,) = record(online())
        assert stream.message()[1]["workspace_id"] == str(early.workspace_id)
        late.commit()
        position, message = stream.message()
    assert late.id < early.id
    assert (position, message["workspace_id"]) == (2, str(late.event.workspace_id))
    with server.stream(headers={**WORD, "Last-Event-ID": "1"}) as stream:
        assert stream.message() == (position, message)


def test_a_replay_longer_than_a_batch_continues_live_without_gap_or_duplicate(server):
    publish(*[online() for _ in range(1200)])
    with server.stream(params={"after": "0"}) as stream:
        publish(*[online() for _ in range(30)])
        assert stream.positions(1230) == list(range(1, 1231))


def test_a_client_that_is_not_signed_in_gets_401(server):
    for headers in ({}, {"X-Word": "wrong"}, {"Cookie": "sessionid=made-up"}):
        answer = server.get(headers=headers)
        assert answer.status_code == 401, headers
        assert answer.json() == {
            "error": "Sign in, or send an API key as `Authorization: Bearer`.",
            "code": "unauthorized",
        }
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_signed_in_operator_gets_the_stream(server):
    with server.stream(headers=signed_in(is_staff=True, is_superuser=True)) as stream:
        publish(online())
        assert stream.message()[0] == 1


@pytest.mark.parametrize("attributes", [{"is_staff": False}, {"is_staff": True, "is_active": False}])
def test_a_session_without_the_permission_is_refused(server, attributes):
    assert server.get(headers=signed_in(**attributes)).status_code in (401, 403)


def test_an_invalid_position_gets_400_by_its_field(server):
    for value in ("abc", "-1", "1.5", "", " 1", "9" * 19, "1\x00", "٣"):
        answer = server.get(headers=WORD, params={"after": value})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_position"), value
        assert list(answer.json()["fields"]) == ["after"], value
    answer = server.get(headers=WORD, params={"after": ["1", "2"]})
    assert (answer.status_code, answer.json()["fields"]) == (400, {"after": "This parameter is given more than once."})


def test_an_invalid_header_gets_400_by_its_name(server):
    answer = server.get(headers={**WORD, "Last-Event-ID": "abc"}, params={"after": "0"})
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == ["Last-Event-ID"]


def test_a_position_ahead_of_the_log_gets_400(server):
    publish(online())
    answer = server.get(headers=WORD, params={"after": "2"})
    assert answer.status_code == 400
    assert "ends at 1" in answer.json()["error"]


def test_only_get_is_answered(server):
    answer = httpx.head(server.url, headers=WORD, timeout=PATIENCE_SECONDS, trust_env=False)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    posted = httpx.post(server.url, headers=WORD, timeout=PATIENCE_SECONDS, trust_env=False)
    assert (posted.status_code, posted.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/events/stream", "/ws", "/workspaces/any/events/stream"])
def test_wsgi_refuses_the_stream_with_a_sentence(path):
    answer = Client().get(path)
    assert answer.status_code == 501
    assert "ASGI" in json.loads(answer.content)["error"]


def test_a_silent_stream_is_kept_alive(serve):
    with serve(KEEP_ALIVE_SECONDS="0.1").stream() as stream:
        for _ in range(3):
            assert stream.block() == [": keep-alive", "id: 0"]
            # Without an ID of its own, and as a message, which the page of a browser sees.
            (line,) = stream.block()
            told = json.loads(line.removeprefix("data: "))
            assert told.pop("timestamp").endswith("Z")
            nothing = {"workspace_id": None, "payload": {}, "position": 0, "version": None}
            assert told == {"event": "KEEP_ALIVE", **nothing}


def test_the_default_keep_alive_is_within_the_contract_s_fifteen_seconds():
    assert 0 < Limits().keep_alive_seconds < 15


def test_fifty_clients_share_one_reader_of_the_log(server):
    with ExitStack() as stack:
        streams = [stack.enter_context(server.stream()) for _ in range(50)]
        publish(online())
        assert [stream.message()[0] for stream in streams] == [1] * 50
        wait_until(lambda: len(own_backends()[0]) == 2)
        names, count = own_backends()
        assert set(names) == {"slipway-live-tail", "slipway-live-read"}
        assert count == 2
    wait_until(lambda: own_backends()[1] == 0)


@pytest.mark.parametrize(
    "victims", [["slipway-live-tail"], ["slipway-live-read"], ["slipway-live-tail", "slipway-live-read"]]
)
def test_a_stream_survives_the_loss_of_its_database_connections(server, victims):
    with server.stream() as stream:
        publish(online())
        assert stream.message()[0] == 1
        # The first event may have come before the follower had its connection.
        wait_until(lambda: len(own_backends()[0]) == 2)
        pids = [own_backends()[0][name] for name in victims]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [pids])
        publish(online(), online())
        assert stream.positions(2) == [2, 3]
        publish(online())
        assert stream.message()[0] == 4


def test_streams_take_no_database_connection_from_the_web_server(serve):
    server = serve(DATABASE_POOL_SIZE="2", DATABASE_POOL_WAIT_SECONDS="30")
    cookie = signed_in(is_staff=True, is_superuser=True)
    with ExitStack() as stack:
        streams = [stack.enter_context(server.stream(headers=cookie)) for _ in range(6)]
        publish(online())
        assert [stream.message()[0] for stream in streams] == [1] * 6


def test_a_stream_is_refused_with_503_if_the_log_cannot_be_read(serve):
    answer = serve(DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing").get(headers=WORD)
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "2")
    assert "event log" in answer.json()["error"]


@contextmanager
def _renamed(table):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO hidden")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE hidden RENAME TO {table}")


def test_a_bug_in_the_follower_ends_the_streams_and_the_next_stream_works(server):
    server.expected_tracebacks = 1
    with server.stream() as stream:
        publish(online())
        assert stream.message()[0] == 1
        with _renamed("events_event"):
            # The follower reads only up to the counter.
            PositionCounter.objects.update(last_position=2)
            assert ": The event log can't be read now. Connect again from your last position." in stream.rest()
        PositionCounter.objects.update(last_position=1)
    assert "The live streams have failed" in server.log.read_text()
    with server.stream(headers={**WORD, "Last-Event-ID": "1"}) as stream:
        publish(online())
        assert stream.message()[0] == 2


def test_an_open_stream_does_not_keep_the_server_from_stopping(server):
    with server.stream() as stream:
        publish(online())
        assert stream.message()[0] == 1
        server.process.terminate()
        assert server.process.wait(PATIENCE_SECONDS) == 0
