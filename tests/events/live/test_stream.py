"""Who gets which events, and for how long: workspaces, filters, ephemeral events, permissions, two web processes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session

from events import ephemeral, relay
from events.models import Event
from events.names import EphemeralEventType
from tests.callers import AgentCaller, holder
from tests.events.conftest import WORD, Server, online, publish, record, signed_in
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces import factories
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db(transaction=True)


def _of_workspace(server, workspace, **options):
    return Server(server.port, server.process, server.log, path=f"/workspaces/{workspace}/events/stream").stream(
        **options
    )


def _refused(server, path, *, headers=WORD):
    return httpx.get(f"{server.origin}{path}", headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)


def test_one_workspace_s_stream_has_the_shape_that_existing_clients_read(server):
    own = uuid4()
    with _of_workspace(server, own) as stream:
        publish(online(), online(own, version=4, payload={"url": "http://a"}))
        position, message = stream.message()
    event = Event.objects.get(workspace_id=own)
    assert position == 2
    assert message == {
        "type": "WORKSPACE_ONLINE",
        "timestamp": round(event.created_at.timestamp() * 1000),
        "data": {"url": "http://a", "version": 4},
    }


def test_an_agent_follows_its_own_workspace_and_no_other(server):
    own, other = factories.booting(), factories.booting()
    relay.number_all()
    headers = AgentCaller(own).headers
    with _of_workspace(server, own.pk, headers=headers) as stream:
        factories.bring_online(other)
        factories.bring_online(own)
        relay.number_all()
        assert stream.message()[1]["data"]["url"] == "http://127.0.0.1:4000"
    assert _refused(server, f"/workspaces/{other.pk}/events/stream", headers=headers).status_code == 403


def test_the_stream_of_a_workspace_that_there_never_was_is_refused(server):
    headers, unknown, known_by_events = holder(ApiScope.READ).headers, uuid4(), uuid4()
    answer = _refused(server, f"/workspaces/{unknown}/events/stream", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert str(unknown) in answer.json()["error"]
    publish(online(known_by_events, version=4))
    with _of_workspace(server, known_by_events, headers=headers) as stream:
        publish(online(known_by_events, version=5))
        assert stream.message()[1]["data"]["version"] == 5


def test_a_silent_stream_of_one_workspace_is_kept_alive_by_comments_alone(serve):
    with _of_workspace(serve(KEEP_ALIVE_SECONDS="0.1"), uuid4()) as stream:
        assert [stream.block() for _ in range(3)] == [[": keep-alive", "id: 0"]] * 3


def test_a_workspace_s_stream_refuses_other_workspaces_and_invalid_ids(server):
    answer = _refused(server, f"/workspaces/{uuid4()}/events/stream?subtree={uuid4()}")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["subtree"])
    answer = _refused(server, "/workspaces/abc/events/stream")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_filtered_stream_resumes_behind_the_events_that_it_left_out(serve):
    server, wanted = serve(KEEP_ALIVE_SECONDS="0.2"), uuid4()
    with server.stream(params={"workspace": str(wanted), "after": "0"}) as stream:
        publish(*[online() for _ in range(20)], online(wanted), *[online() for _ in range(9)])
        assert stream.message()[0] == 21
        while (block := stream.block()) != [": keep-alive", "id: 30"]:
            assert block[0] == ": keep-alive" or '"KEEP_ALIVE"' in block[0]


def test_an_invalid_filter_gets_400_by_its_field(server):
    for field, value in (("event", "NONE"), ("workspace", "1"), ("runtime", ""), ("subtree", "x"), ("evnt", "x")):
        answer = server.get(headers=WORD, params={field: value})
        assert (answer.status_code, answer.json()["code"], list(answer.json()["fields"])) == (
            400,
            "bad_filter",
            [field],
        )


def test_a_subtree_s_stream_has_all_descendants(server):
    root = factories.online(name="root")
    middle = factories.online(name="middle", parent_id=root.pk)
    factories.online(name="stranger")
    relay.number_all()
    with server.stream(params={"subtree": str(root.pk)}) as stream:
        factories.online(name="another stranger")
        leaf = factories.queued(name="leaf", parent_id=middle.pk)
        relay.number_all()
        assert stream.message()[1]["workspace_id"] == str(leaf.pk)


def test_ephemeral_events_reach_a_stream_without_a_position(server):
    workspace_id = uuid4()
    with server.stream() as stream:
        event = _read_ephemeral(stream, workspace_id)
    assert event["timestamp"]
    assert event | {"timestamp": ""} == {
        "event": "TASK_UPDATED",
        "workspace_id": str(workspace_id),
        "timestamp": "",
        "payload": {"current_task": "read", "active_tasks": 1, "version": 3},
        "position": None,
        "version": 3,
    }


def _read_ephemeral(stream, workspace_id):
    """Publish until an event arrives, since delivery is best effort; return its data.

    Leaves out keep-alives, and what an earlier test may have published last.
    """
    has_arrived = threading.Event()

    def say():
        payload = {"current_task": "read", "active_tasks": 1}
        while not has_arrived.wait(0.3):
            event = {"event_type": EphemeralEventType.TASK_UPDATED, "workspace_id": workspace_id, "version": 3}
            ephemeral.publish(ephemeral.EphemeralEvent(**event, payload=payload))

    thread = threading.Thread(target=say)
    thread.start()
    try:
        while not (block := stream.block())[0].startswith("data: ") or str(workspace_id) not in block[0]:
            pass
        (line,) = block
        return json.loads(line.removeprefix("data: "))
    finally:
        has_arrived.set()
        thread.join(PATIENCE_SECONDS)


def test_a_stream_works_without_redis(serve):
    with serve(REDIS_URL="redis://127.0.0.1:1/0").stream() as stream:
        publish(online())
        assert stream.message()[0] == 1


def _end_session(user):
    Session.objects.all().delete()


def _deactivate(user):
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)


def _withdraw_permission(user):
    get_user_model().objects.filter(pk=user.pk).update(is_superuser=False)


@pytest.mark.parametrize("withdraw", [_end_session, _deactivate, _withdraw_permission])
def test_a_stream_ends_when_its_permission_is_withdrawn(serve, withdraw):
    server = serve(RECHECK_SECONDS="0.2")
    cookie = signed_in(is_staff=True, is_superuser=True)
    with server.stream(headers=cookie) as stream, server.stream() as other:
        publish(online())
        assert stream.message()[0] == 1
        withdraw(get_user_model().objects.get())
        assert any(line.startswith((": Sign in", ": You lack")) for line in stream.rest())
        # A client with another credential keeps its stream.
        publish(online())
        assert other.positions(2) == [1, 2]
    assert server.get(headers=cookie).status_code in (401, 403)


def test_two_web_processes_send_a_thousand_events_to_their_clients_in_order(serve, start_relay):
    start_relay()
    first, second = serve(), serve()
    with first.stream() as here, second.stream() as there, ThreadPoolExecutor(2) as readers:
        reading = [readers.submit(stream.positions, 1000) for stream in (here, there)]
        workspaces = [uuid4() for _ in range(10)]
        for version in range(1, 101):
            record(*[online(workspace, version) for workspace in workspaces])
        for each in reading:
            assert each.result(PATIENCE_SECONDS) == list(range(1, 1001))
