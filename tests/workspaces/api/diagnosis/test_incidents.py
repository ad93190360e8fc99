"""/incidents: what concerns the fleet, and the release of launches that are held."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, later
from workspaces.deadlines.policy import current_policy
from workspaces.models import ApiScope, Incident, Workspace
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def reader():
    return holder(ApiScope.READ)


@pytest.fixture
def operator():
    return holder(ApiScope.OPERATE)


@pytest.fixture
def held():
    """Five launches that are late together, and the incident that holds them."""
    rows = [booting(now=NOON) for _ in range(5)]
    sweep_stuck(now=later(rows[0], minutes=11), policy=current_policy())
    return Incident.objects.get()


def opened(scope, *, hours, resolved=None, kind="own_outage"):
    at = NOON + timedelta(hours=hours)
    return Incident.objects.create(
        kind=kind, scope=scope, opened_at=at, resolved_at=resolved and NOON + timedelta(hours=resolved), count=1
    )


def scopes(reader, **query):
    answer = reader.get("/incidents", **query)
    assert answer.status_code == 200, answer.content
    return [row["scope"] for row in answer.json()]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["runtime:echo", "sweep", "web"]),
        ({"sort": "opened_at"}, ["web", "sweep", "runtime:echo"]),
        ({"kind": "own_outage"}, ["sweep", "web"]),
        ({"scope": "runtime:echo"}, ["runtime:echo"]),
        ({"is_resolved": "false"}, ["runtime:echo", "sweep"]),
        ({"is_resolved": "true"}, ["web"]),
        ({"since": "2026-03-04T16:00"}, ["runtime:echo", "sweep"]),
        ({"since": "2026-03-04T14:00"}, ["runtime:echo", "sweep", "web"]),
        ({"until": "2026-03-04T14:00"}, ["sweep", "web"]),
        ({"limit": "1"}, ["runtime:echo"]),
    ],
)
def test_filters_and_orders(reader, query, found):
    opened("web", hours=0, resolved=3)
    opened("sweep", hours=1)
    opened("runtime:echo", hours=2, kind="mass_lateness")
    assert scopes(reader, **query) == found


def test_pages_hold_every_incident_once(reader):
    for number in range(5):
        opened(f"part {number}", hours=0)
    seen, address, query = [], "/incidents", {"limit": 2}
    while address:
        answer = reader.get(address, **query)
        seen += [row["scope"] for row in answer.json()]
        address, query = answer.get("Link", "").removeprefix("<").split(">")[0], {}
        assert len(seen) <= 5
    assert sorted(seen) == [f"part {number}" for number in range(5)]


def test_an_incident_says_what_it_is_and_whether_it_holds_launches(reader, held):
    shown = reader.get(f"/incidents/{held.pk}").json()
    assert (shown["kind"], shown["scope"], shown["count"]) == ("mass_lateness", "runtime:echo", 5)
    assert (shown["is_holding"], shown["released_by"], shown["resolved_at"]) == (True, "", None)
    assert "common cause" in shown["message"]


def test_a_release_lets_the_next_sweep_fail_them_and_says_who_did_it(reader, operator, held):
    answer = operator.post(f"/incidents/{held.pk}/release")
    assert answer.status_code == 200
    assert answer.json()["released"] == 5
    assert answer.json()["incident"]["released_by"] == "the API key script"
    assert reader.get(f"/incidents/{held.pk}").json()["is_holding"] is False
    assert not Workspace.objects.filter(held_since__isnull=False).exists()
    report = sweep_stuck(now=NOON + timedelta(minutes=12), policy=current_policy())
    assert len(report.failed) == 5


def test_what_holds_nothing_can_not_be_released(operator, held):
    operator.post(f"/incidents/{held.pk}/release")
    outage = opened("web", hours=0)
    for incident in (held, outage):
        answer = operator.post(f"/incidents/{incident.pk}/release")
        assert (answer.status_code, answer.json()["code"]) == (409, "holds_nothing")


@pytest.mark.parametrize("unknown", ["999", "0", "x", str(2**63)])
def test_an_unknown_incident_is_not_found(reader, operator, unknown):
    for answer in (reader.get(f"/incidents/{unknown}"), operator.post(f"/incidents/{unknown}/release")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_only_operators_release(reader, held):
    for caller in (reader, holder(ApiScope.WATCH), AgentCaller(Workspace.objects.first())):
        assert caller.post(f"/incidents/{held.pk}/release").status_code == 403
    held.refresh_from_db()
    assert held.is_holding


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "bad luck"), ("is_resolved", "perhaps"), ("since", "x"), ("sort", "kind"), ("limit", "0"), ("knd", "x")],
)
def test_a_wrong_filter_is_refused_by_name(reader, name, value):
    answer = reader.get("/incidents", **{name: value})
    assert (answer.status_code, [field.split(".")[0] for field in answer.json()["fields"]]) == (422, [name])
