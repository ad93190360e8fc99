"""GET /events and GET /events/{workspace_id}."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.names import EventType
from events.outbox import NewEvent
from events.positions import last_position
from tests.callers import holder
from tests.events.conftest import online, publish, record
from tests.workspaces.factories import queued
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db


def get(path, **parameters):
    return holder(ApiScope.READ).get(path, **parameters)


def positions(answer):
    assert answer.status_code == 200, answer.content
    return [event["position"] for event in answer.json()]


def test_an_event_has_the_contract_s_fields():
    workspace_id = uuid4()
    (row,) = publish(online(workspace_id, version=3, payload={"url": "http://a"}))
    (event,) = get("/events").json()
    created_at = event.pop("created_at")
    assert event == {
        "id": row.id,
        "event_type": "WORKSPACE_ONLINE",
        "workspace_id": str(workspace_id),
        "version": 3,
        "payload": {"url": "http://a", "version": 3},
        "position": last_position(),
    }
    row.refresh_from_db()
    assert created_at == row.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_an_incident_has_no_workspace():
    publish(incident())
    (event,) = get("/events").json()
    assert (event["workspace_id"], event["version"]) == (None, None)


def test_events_come_newest_first():
    publish(*[online() for _ in range(3)])
    assert positions(get("/events")) == [3, 2, 1]


def test_events_behind_a_position_come_oldest_first():
    publish(*[online() for _ in range(5)])
    assert positions(get("/events", after=2)) == [3, 4, 5]
    assert positions(get("/events", after=2, limit=2)) == [3, 4]
    assert positions(get("/events", after=0, limit=1)) == [1]
    assert positions(get("/events", after=5)) == []


def test_an_event_without_a_position_is_not_listed():
    publish(online())
    record(online())
    assert positions(get("/events")) == [1]
    assert positions(get("/events", after=0)) == [1]


def test_a_hundred_events_are_listed_by_default():
    publish(*[online() for _ in range(101)])
    assert positions(get("/events")) == list(range(101, 1, -1))
    assert len(positions(get("/events", limit=1000))) == 101


def test_a_workspace_s_events_are_its_own():
    mine = uuid4()
    publish(online(mine, version=1), online(), online(mine, version=2))
    assert positions(get(f"/events/{mine}")) == [3, 1]
    assert positions(get(f"/events/{mine}", after=0)) == [1, 3]
    assert positions(get(f"/events/{mine}", after=1, limit=1)) == [3]


def test_an_unknown_workspace_is_answered_404_and_one_without_events_or_that_only_has_events_is_not():
    mine, unknown = uuid4(), uuid4()
    publish(online(mine))
    assert positions(get(f"/events/{mine}")) == [1]
    # Its events have no positions yet.
    assert positions(get(f"/events/{queued().pk}")) == []
    answer = get(f"/events/{unknown}")
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": f"There is no workspace {unknown}.", "code": "not_found"},
    )


def incident():
    return NewEvent(event_type=EventType.INCIDENT_OPENED, payload={"kind": "outage"})


def test_events_are_filtered_by_name_before_they_are_counted():
    mine = uuid4()
    publish(incident(), online(mine), online(), incident(), online(mine, version=2))
    assert positions(get("/events", event="INCIDENT_OPENED", limit=1)) == [4]
    assert positions(get("/events", event=["INCIDENT_OPENED", "WORKSPACE_ONLINE"], after=1, limit=3)) == [2, 3, 4]
    assert positions(get(f"/events/{mine}", event="WORKSPACE_ONLINE")) == [5, 2]
    assert positions(get(f"/events/{mine}", event="INCIDENT_OPENED")) == []


@pytest.mark.parametrize("names", [["INCIDENT_OPENED"], ["INCIDENT_OPENED", "WORKSPACE_OFFLINE"]], ids=["one", "two"])
@pytest.mark.parametrize("page", [{}, {"after": 1}], ids=["newest", "behind a position"])
def test_an_index_tells_which_events_have_a_name(names, page):
    publish(incident(), *[online() for _ in range(300)], incident())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE events_event")
        with CaptureQueriesContext(connection) as queries:
            assert len(positions(get("/events", event=names, **page))) == 2 - len(page)
        [listed] = [query["sql"] for query in queries if '"events_event"' in query["sql"]]
        cursor.execute(f"EXPLAIN {listed}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert plan.count("event_by_name") == len(names), plan
    assert "Seq Scan" not in plan


def test_a_name_that_is_given_twice_lists_its_events_once():
    publish(incident(), online())
    assert positions(get("/events", event=["INCIDENT_OPENED", "INCIDENT_OPENED"])) == [1]


def test_an_unknown_name_is_refused_with_the_nearest_one():
    answer = get("/events", event=["WORKSPACE_ONLINE", "INCIDENT_OPEND"])
    assert answer.status_code == 422
    assert "Did you mean INCIDENT_OPENED?" in answer.json()["fields"]["event"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event", "WORKSPACE_HEARTBEAT"),
        ("event", ""),
        ("event", "WORKSPACE_ONLINE\x00"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "many"),
        ("limit", ""),
        ("after", "-1"),
        ("after", "x"),
        ("after", "1.5"),
        ("after", ""),
        ("after", str(2**63)),
        ("after", "1\x00"),
    ],
)
@pytest.mark.parametrize("path", ["/events", "/events/00000000-0000-4000-8000-000000000001"])
def test_a_bad_parameter_is_refused_by_name(path, name, value):
    answer = get(path, **{name: value})
    assert answer.status_code == 422
    assert list(answer.json()["fields"]) == [name]


@pytest.mark.parametrize("workspace_id", ["nobody", "123", "00000000-0000-0000-0000-00000000000g", "%00"])
def test_a_malformed_workspace_id_is_refused_by_name(workspace_id):
    answer = get(f"/events/{workspace_id}")
    assert (answer.status_code, list(answer.json()["fields"])) == (404, ["workspace_id"])


@pytest.mark.parametrize("names", [[], ["INCIDENT_OPENED"], ["INCIDENT_OPENED", "WORKSPACE_ONLINE"]])
@pytest.mark.parametrize("query", [{}, {"after": 2}, {"sort": "position"}, {"after": 2, "sort": "-position"}])
def test_pages_hold_each_event_once_whatever_the_filter_and_the_order(names, query):
    publish(*[event for _ in range(4) for event in (online(), incident())])
    whole = positions(get("/events", event=names, limit=1000, **query))
    is_oldest_first = query.get("sort", "position" if "after" in query else "") == "position"
    assert whole == sorted(whole, reverse=not is_oldest_first)
    found, address = [], None
    while len(found) < len(whole):
        answer = get(address) if address else get("/events", event=names, limit=2, **query)
        found += positions(answer)
        assert ("Link" in answer) == (len(found) < len(whole))
        address = answer.get("Link", "").strip("<").split(">")[0]
    assert found == whole


def test_a_new_event_moves_none_to_another_page():
    publish(*[online() for _ in range(4)])
    first = get("/events", limit=2)
    publish(online())
    second = get(first["Link"].strip("<").split(">")[0])
    assert (positions(first), positions(second)) == ([4, 3], [2, 1])
