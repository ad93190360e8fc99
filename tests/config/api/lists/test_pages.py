"""Every list of the API comes in pages, by the same parameters and header. The lists are those of the description."""

import base64
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings

from config.api.ninja_api import api
from events.models import Channel
from tests.config.api.lists.rows import LISTS, Reader, fill, schema_of

pytestmark = pytest.mark.django_db

# Lists that stay short whatever happens to the fleet, so that they have no pages, and why.
SHORT = {
    "GET /templates": "as many as the catalog has folders",
    "GET /settings/deadlines": "one for each runtime of the catalog and the settings",
    "GET /workspaces/{workspace_id}/usage": "one for each day, for at most 400 days",
}
PAGED = sorted(LISTS.keys() - SHORT)
ROWS = 5
LINK = re.compile(r'<(/[^>]*)>; rel="next"')


def orders():
    """Return (list, order) of every order that a list can have."""
    return [(call, sort) for call in PAGED for sort in schema_of(call, "sort")["enum"] if sort]


def test_the_lists_are_those_of_the_routes():
    """A view that returns a list is described as one."""
    routes = [
        (method, operation.view_func)
        for _, router in api._routers
        for path in router.path_operations.values()
        for operation in path.operations
        for method in operation.methods
    ]
    names = {
        view.__name__
        for method, view in routes
        if method == "GET" and str(view.__annotations__.get("return")).startswith("list")
    }
    assert names == {call["operationId"] for call in LISTS.values()}
    assert len(names) > 10


@pytest.mark.parametrize("call", sorted(LISTS))
def test_a_list_has_pages_or_is_declared_short(call):
    has_pages = {name for name in ("limit", "cursor", "sort") if schema_of(call, name)}
    assert has_pages == (set() if call in SHORT else {"limit", "cursor", "sort"})
    assert ("Link" in LISTS[call]["responses"]["200"]["headers"]) == (call not in SHORT)


def test_what_is_declared_short_is_a_list():
    assert LISTS.keys() > SHORT.keys()


def test_the_docs_name_the_orders_and_the_default_length_of_every_list():
    documented = {}
    text = (settings.BASE_DIR / "docs/reference/api.md").read_text()
    for lists, sorts, limit in re.findall(r"^\| (`/[^|]+) \| ([^|]+) \| (all|\d+) \|$", text, re.MULTILINE):
        for path in re.findall(r"`([^`]+)`", lists):
            names = {name.removeprefix("-") for name in re.findall(r"`(-?\w+)`", sorts)} - {"after"}
            first = re.match(r"`(-?\w+)`", sorts)[1]
            documented[path] = (first, names, None if limit == "all" else int(limit))
    described = {}
    for call in PAGED:
        sort, limit = schema_of(call, "sort"), schema_of(call, "limit")
        path = re.sub(r"\{\w+\}", "{id}", call.removeprefix("GET "))
        names = {name.removeprefix("-") for name in sort["enum"] if name}
        # Of events it depends on `after`.
        described[path] = (sort["default"] or "-position", names, limit.get("default"))
    assert documented == described


@pytest.mark.parametrize(("call", "sort"), orders())
def test_pages_hold_every_row_once_in_order(call, sort):
    fill(ROWS)
    reader = Reader(call)
    whole = reader.rows(sort=sort, limit=1000)
    assert len(whole) >= ROWS
    query, found = {"sort": sort, "limit": 2}, []
    while query:
        answer = reader.read(**query)
        page = answer.json()
        found += page
        link = answer.get("Link", "")
        assert len(page) == 2 or not link
        # The filters and the order stay in the address of the next page.
        address = urlsplit(LINK.fullmatch(link)[1]) if link else None
        query = {name: values[0] for name, values in parse_qs(address.query).items()} if address else {}
        assert len(found) <= len(whole)
        assert not query or (query["sort"], query["limit"]) == (sort, "2")
    assert found == whole


def test_the_next_page_is_found_behind_the_longest_name():
    for last in "ab":
        Channel.objects.create(name="\U0001f680" * 99 + last, kind="log")
    reader = Reader("GET /channels")
    link = LINK.fullmatch(reader.read(limit=1)["Link"])[1]
    (row,) = reader.read(limit=1, cursor=parse_qs(urlsplit(link).query)["cursor"][0]).json()
    assert row["name"].endswith("b")


@pytest.mark.parametrize(("call", "sort"), orders())
def test_an_order_is_the_opposite_of_its_opposite(call, sort):
    fill(ROWS)
    opposite = sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"
    reader = Reader(call)
    rows = reader.rows(sort=sort)
    assert rows == reader.rows(sort=opposite)[::-1]
    values = [row[sort.removeprefix("-")] for row in rows]
    assert values == sorted(values, reverse=sort.startswith("-"))


@pytest.mark.parametrize("call", PAGED)
def test_a_list_without_parameters_is_a_plain_array_of_all_its_rows_or_of_the_first(call):
    fill(ROWS)
    reader = Reader(call)
    answer = reader.read()
    assert "Link" not in answer
    assert answer.json() == reader.rows(limit=1000)
    default = schema_of(call, "limit").get("default")
    assert default is None or default >= 100


@pytest.mark.parametrize("call", PAGED)
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *[("limit", value) for value in ("0", "-1", "1001", "x", "1.5", "", str(2**63))],
        ("sort", "colour"),
        *[("cursor", value) for value in ("x", "ü", "\x00", "x" * 1001, "W10", "e30", "bnVsbA", "W1tdXQ", "W10" * 300)],
    ],
)
def test_a_wrong_parameter_is_refused_by_name(call, parameter, value):
    answer = Reader(call).read(**{parameter: value})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.content
    assert list(answer.json()["fields"]) == [parameter]


@pytest.mark.parametrize("call", PAGED)
def test_a_cursor_of_another_order_or_with_other_values_is_refused_or_reads_nothing_else(call):
    fill(ROWS)
    reader = Reader(call)
    one, other = [sort for sort in schema_of(call, "sort")["enum"] if sort][:2]
    link = LINK.fullmatch(reader.read(sort=one, limit=1)["Link"])[1]
    cursor = parse_qs(urlsplit(link).query)["cursor"][0]
    assert list(reader.read(sort=other, cursor=cursor).json()["fields"]) == ["cursor"]
    sort, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for hostile in (str(10**40), "-1", "\ud800", "\x00", "9999-12-31T23:59:59Z", "NaN", "", "'; --", ["x"], None, 1):
        forged = base64.urlsafe_b64encode(json.dumps([sort, *[hostile] * len(values)]).encode()).decode()
        assert reader.read(sort=one, cursor=forged).status_code in {200, 422}, hostile
