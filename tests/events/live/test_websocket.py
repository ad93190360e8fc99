"""GET /ws on the real server, with a third-party client."""

import json
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from postgres.clock import database_now
from tests.events.conftest import PATIENT, WORD, next_message, online, publish
from tests.waiting import PATIENCE_SECONDS
from workspaces.access.api_keys import mint_api_key, revoke_api_key

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def listening(server, query="", *, path="/ws", headers=WORD, **options):
    address = f"ws://127.0.0.1:{server.port}{path}{query}"
    with connect(address, additional_headers=headers, proxy=None, **PATIENT, **options) as client:
        yield client


def refused(server, *arguments, **options):
    with pytest.raises(InvalidStatus) as refusal, listening(server, *arguments, **options):
        pass
    return refusal.value.response


def test_a_websocket_has_the_same_envelope_as_server_sent_events(server):
    with listening(server, "?after=0") as client, server.stream(params={"after": "0"}) as stream:
        publish(online(payload={"url": "http://a", "text": "two\nlines ü"}))
        assert next_message(client) == stream.message()[1]


def test_a_websocket_resumes_from_a_position_and_then_follows_live(server):
    publish(*[online() for _ in range(700)])
    with listening(server, "?after=2") as client:
        publish(*[online() for _ in range(50)])
        assert [next_message(client)["position"] for _ in range(748)] == list(range(3, 751))


def test_a_websocket_is_filtered(server):
    wanted = uuid4()
    with listening(server, f"?after=0&workspace={wanted}") as client:
        publish(online(), online(wanted), online())
        assert next_message(client)["workspace_id"] == str(wanted)


def test_messages_from_a_client_are_ignored(server):
    with listening(server) as client:
        for _ in range(20):
            client.send("{}" * 100)
        publish(online())
        assert next_message(client)["position"] == 1


def test_a_silent_websocket_is_kept_alive(serve):
    with listening(serve(KEEP_ALIVE_SECONDS="0.2")) as client:
        for told in (json.loads(client.recv(timeout=PATIENCE_SECONDS)) for _ in range(2)):
            assert told.pop("timestamp").endswith("Z")
            nothing = {"workspace_id": None, "payload": {}, "position": 0, "version": None}
            assert told == {"event": "KEEP_ALIVE", **nothing}


@pytest.mark.parametrize(
    ("query", "field"), [("?after=x", "after"), ("?event=NONE", "event"), ("?workspace=1", "workspace")]
)
def test_an_invalid_value_refuses_the_handshake_by_its_field(server, query, field):
    response = refused(server, query)
    assert response.status_code == 400
    assert list(json.loads(response.body)["fields"]) == [field]


def test_a_client_that_is_not_signed_in_gets_401(server):
    assert refused(server, headers={}).status_code == 401


def test_another_address_has_no_websocket(server):
    assert refused(server, path="/events/stream").status_code == 404


def test_a_plain_request_gets_426(server):
    answer = httpx.get(f"{server.origin}/ws", headers=WORD, timeout=PATIENCE_SECONDS, trust_env=False)
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert "WebSocket" in answer.json()["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example", "file://"])
def test_a_page_of_another_site_is_refused(server, origin):
    assert refused(server, origin=origin).status_code == 403


def test_a_page_of_our_own_or_of_a_trusted_origin_is_accepted(serve):
    server = serve(CSRF_TRUSTED_ORIGINS="https://console.example,https://*.trusted.example")
    for origin in (f"http://127.0.0.1:{server.port}", "https://console.example", "https://a.trusted.example"):
        with listening(server, origin=origin) as client:
            publish(online())
            assert next_message(client)["event"] == "WORKSPACE_ONLINE"
    assert refused(server, origin="http://console.example").status_code == 403


def test_a_host_that_is_not_allowed_is_refused(server):
    answer = server.get(headers={**WORD, "Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_host")


def test_a_websocket_whose_permission_is_withdrawn_is_closed_with_the_reason(serve):
    row, key = mint_api_key(name="script", scopes=["read"])
    server = serve(RECHECK_SECONDS="0.2")
    with listening(server, headers={"Authorization": f"Bearer {key}"}) as client:
        publish(online())
        assert next_message(client)["position"] == 1
        revoke_api_key(row.prefix, now=database_now())
        with pytest.raises(ConnectionClosed) as closed:
            next_message(client)
    assert closed.value.rcvd.code == 4401
    assert "revoked" in closed.value.rcvd.reason
