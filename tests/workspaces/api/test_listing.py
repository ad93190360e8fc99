"""The list of workspaces: filters, orders and pages."""

import base64
import json
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.callers import holder
from tests.workspaces.factories import booting, external, failed, online
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import ApiScope, Workspace
from workspaces.operations import pause, remove

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader():
    return holder(ApiScope.READ)


@pytest.fixture
def fleet():
    top = online(name="top", role="lead", labels={"team": "search", "note": "a = b"})
    booting(name="boots", parent_id=top.pk, labels={"team": "ads"})
    failed(name="fails", code=FailureCode.CRASHED)
    external(name="outside")
    remove(online(name="gone").pk)
    return {row.name: row for row in Workspace.objects.all()}


def names(reader, **query):
    answer = reader.get("/workspaces", **query)
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["boots", "fails", "outside", "top"]),
        ({"include_removed": "true"}, ["boots", "fails", "gone", "outside", "top"]),
        ({"status": "failed"}, ["fails"]),
        ({"status": ["failed", "online"]}, ["fails", "top"]),
        ({"status": "removed"}, ["gone"]),
        ({"runtime": "echo"}, ["boots", "fails", "top"]),
        ({"runtime": ["external", "none"]}, ["outside"]),
        ({"template": "echo"}, []),
        ({"failure_code": "crashed"}, ["fails"]),
        ({"failure_code": ["crashed", "timed_out"]}, ["fails"]),
        ({"backend": "external"}, ["outside"]),
        ({"label": "team"}, ["boots", "top"]),
        ({"label": "team=search"}, ["top"]),
        ({"label": ["team", "note"]}, ["top"]),
        ({"label": "note=a = b"}, ["top"]),
        ({"label": "team="}, []),
        ({"q": "LEAD"}, ["top"]),
        ({"q": "it broke"}, ["fails"]),
        ({"q": "search"}, ["top"]),
        ({"q": "outs"}, ["outside"]),
        ({"q": "%"}, []),
        ({"status": "online", "q": "boots"}, []),
        ({"sort": "-name"}, ["top", "outside", "fails", "boots"]),
        ({"sort": "created_at"}, ["top", "boots", "fails", "outside"]),
        ({"sort": "-created_at", "status": "online"}, ["top"]),
        ({"_": "1732000000"}, ["boots", "fails", "outside", "top"]),
    ],
)
def test_filters_and_orders(reader, fleet, query, found):
    assert names(reader, **query) == found


def test_a_subtree_is_a_workspace_with_its_descendants(reader, fleet):
    assert names(reader, subtree=str(fleet["top"].pk)) == ["boots", "top"]
    assert names(reader, subtree=str(uuid.uuid4())) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "asleep"),
        ("failure_code", "bad luck"),
        ("backend", "cloud"),
        ("subtree", "x"),
        ("sort", "colour"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "x"),
        ("cursor", "x"),
        ("cursor", "WyJuYW1lIiwgImEiXQ"),
        ("q", "x" * 201),
        ("include_removed", "perhaps"),
    ],
)
def test_a_wrong_filter_is_refused_by_name(reader, fleet, name, value):
    answer = reader.get("/workspaces", **{name: value})
    assert (answer.status_code, [field.split(".")[0] for field in answer.json()["fields"]]) == (422, [name])


def test_an_unknown_filter_is_refused_with_the_nearest_one(reader, fleet):
    answer = reader.get("/workspaces", stauts="failed")
    assert answer.status_code == 422
    assert answer.json()["fields"] == {"stauts": "There is no such parameter. Did you mean status?"}


def follow(reader, query):
    """Return the names on each page, following the Link headers as a script would."""
    pages, address = [], "/workspaces"
    while address:
        answer = reader.get(address, **query)
        pages.append([row["name"] for row in answer.json()])
        link = answer.get("Link", "")
        assert not link or link.endswith('>; rel="next"')
        address, query = link.removeprefix("<").split(">")[0], {}
        assert len(pages) < 20
    return pages


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at", "runtime", "-runtime"])
def test_pages_hold_every_workspace_once_in_order_also_those_with_equal_names(reader, sort):
    rows = [online(name=name) for name in ("b", "a", "b", "b", "é & ü", "c")]
    pages = follow(reader, {"sort": sort, "limit": 2})
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [name for page in pages for name in page] == names(reader, sort=sort)
    assert len(rows) == 6


def test_a_page_keeps_its_filters_and_the_last_one_has_no_link(reader):
    for number in range(3):
        online(name=f"up {number}", labels={"team": "a&b"})
        pause(online(name=f"paused {number}").pk)
    answer = reader.get("/workspaces", status="online", label="team=a&b", limit=2)
    query = parse_qs(urlsplit(answer["Link"].strip("<").split(">")[0]).query)
    assert (query["status"], query["label"], query["limit"]) == (["online"], ["team=a&b"], ["2"])
    assert follow(reader, {"status": "online", "label": "team=a&b", "limit": 2}) == [["up 0", "up 1"], ["up 2"]]
    assert "Link" not in reader.get("/workspaces", limit=6)


def test_what_was_created_or_removed_between_two_pages_repeats_and_hides_nothing_else(reader):
    rows = [online(name=name) for name in "bdfh"]
    first = reader.get("/workspaces", limit=2)
    online(name="a"), online(name="e"), remove(rows[1].pk)
    second = reader.get(first["Link"].strip("<").split(">")[0])
    assert [row["name"] for row in second.json()] == ["e", "f"]


def test_half_of_a_surrogate_pair_in_a_cursor_is_no_error(reader):
    online(name="a")
    place = json.dumps(["name", "\ud800", str(uuid.UUID(int=0))])
    cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    assert reader.get("/workspaces", sort="name", cursor=cursor).status_code == 200


def test_a_cursor_of_another_order_is_refused(reader):
    for name in "ab":
        online(name=name)
    link = reader.get("/workspaces", limit=1)["Link"].strip("<").split(">")[0]
    cursor = parse_qs(urlsplit(link).query)["cursor"][0]
    assert list(reader.get("/workspaces", sort="-name", cursor=cursor).json()["fields"]) == ["cursor"]


def test_a_list_has_the_json_that_is_checked_for_each_of_its_workspaces(reader, fleet):
    pause(online(name="stops").pk)
    loop = {"count": 3, "attempt": 1, "most_attempts": 5, "gave_up": False, "state": "exited", "exit_code": 1}
    times = {"at": "2026-01-01T00:00:00.123456+00:00", "next_attempt_at": None}
    Workspace.objects.filter(pk=fleet["top"].pk).update(crash_loop={**loop, **times, "log_tail": "end"})
    answer = reader.get("/workspaces")
    assert len(answer.json()) == 5
    assert answer.json() == [reader.get(f"/workspaces/{row['id']}").json() for row in answer.json()]
    assert answer["Content-Type"] == "application/json; charset=utf-8"


def test_a_list_takes_the_same_queries_however_long_it_is(reader):
    def number_of_queries():
        with CaptureQueriesContext(connection) as queries:
            reader.get("/workspaces", label="team", limit=100)
        return len(queries)

    online(labels={"team": "a"})
    one = number_of_queries()
    for _ in range(5):
        booting(labels={"team": "a"}), failed(labels={"team": "a"})
    assert number_of_queries() == one
