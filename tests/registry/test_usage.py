"""What agents say they used: counted once, by day and month of the zone, and shown as zero where nothing ran."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings

from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import online
from workspaces.models import ApiScope, Heartbeat, Usage, Workspace
from workspaces.operations import restart
from workspaces.retention import prune
from workspaces.services.watching.budgets import month_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def midday(settings):
    """Let it be about midday in the zone, so that no day or month ends while a test runs."""
    settings.BUDGET_TIME_ZONE = f"Etc/GMT{datetime.now(UTC).hour - 12:+}"


@pytest.fixture
def workspace():
    return online()


@pytest.fixture
def agent(workspace):
    return AgentCaller(workspace)


def metrics(workspace):
    answer = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/metrics")
    assert answer.status_code == 200
    return answer.json()


def used(workspace):
    return tuple(metrics(workspace)[name] for name in ("input_tokens", "output_tokens", "total_calls"))


def test_where_nothing_ran_all_figures_are_there_and_zero(workspace):
    shown = metrics(workspace)
    assert set(shown) == {
        *("input_tokens", "output_tokens", "total_calls", "estimated_cost_usd", "period_start", "period_end")
    }
    assert (used(workspace), shown["estimated_cost_usd"]) == ((0, 0, 0), "0.000000")
    assert shown["period_start"] < shown["period_end"]


def test_a_workspace_without_a_row_for_heartbeats_has_used_and_spent_nothing(workspace):
    Heartbeat.objects.filter(pk=workspace.pk).delete()
    Workspace.objects.filter(pk=workspace.pk).update(budget_limit=500)
    assert (used(workspace), metrics(workspace)["estimated_cost_usd"]) == ((0, 0, 0), "0.000000")
    budget = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/budget").json()
    assert (budget["budget_used"], budget["budget_remaining"]) == (0, 500)


def test_what_heartbeats_say_is_added_up(agent, workspace):
    agent.beat(usage={"input_tokens": 100, "output_tokens": 20, "total_calls": 1})
    agent.beat(usage={"input_tokens": 5, "total_calls": 1})
    agent.beat()
    assert used(workspace) == (105, 20, 2)


def test_a_repeated_heartbeat_counts_once_and_a_new_launch_counts_anew(agent, workspace):
    for counter in (1, 1, 2, 1, 2):
        agent.beat(usage={"total_calls": 1, "counter": counter})
    assert used(workspace) == (0, 0, 2)
    restarted = restart(workspace.pk).workspace
    AgentCaller(restarted).beat(usage={"total_calls": 1, "counter": 1})
    assert used(workspace) == (0, 0, 3)


@pytest.mark.parametrize("counter", [1e30, 2**63, 10**400])
def test_a_counter_that_can_not_be_stored_stops_no_later_one(agent, workspace, counter):
    assert list(agent.beat(usage={"total_calls": 1, "counter": counter}).json()["ignored"]) == ["usage.counter"]
    for _ in range(2):
        agent.beat(usage={"total_calls": 1, "counter": 1_790_000_000_000})
    assert used(workspace) == (0, 0, 2)


def test_the_spend_is_the_estimated_cost(agent, workspace):
    agent.beat(monthly_spend=1234)
    assert metrics(workspace)["estimated_cost_usd"] == "12.340000"


@pytest.mark.parametrize(
    ("usage", "counted", "ignored"),
    [
        ({"input_tokens": -5, "total_calls": 1}, (0, 0, 1), None),
        ({"input_tokens": 1e300}, (10**12, 0, 0), None),
        ({"input_tokens": 2.4}, (2, 0, 0), None),
        ({"input_tokens": "7", "total_calls": 1}, (0, 0, 1), "usage.input_tokens"),
        ({"input_tokens": None, "total_calls": 1}, (0, 0, 1), "usage.input_tokens"),
        ({"counter": "x", "total_calls": 1}, (0, 0, 1), "usage.counter"),
        ({"counter": 1e30, "total_calls": 1}, (0, 0, 1), "usage.counter"),
        ({"counter": 2**63, "total_calls": 1}, (0, 0, 1), "usage.counter"),
        ({"counter": -1, "total_calls": 1}, (0, 0, 1), "usage.counter"),
        ({"counter": 2**63 - 1, "total_calls": 1}, (0, 0, 1), None),
        ("much", (0, 0, 0), "usage"),
        ([], (0, 0, 0), "usage"),
        ({"colour": "red", "total_calls": 1}, (0, 0, 1), None),
        (None, (0, 0, 0), None),
    ],
)
def test_usage_that_can_not_be_so_is_mended_or_ignored_and_the_heartbeat_counts(
    agent, workspace, usage, counted, ignored
):
    answer = agent.beat(uptime_seconds=77, usage=usage)
    assert answer.status_code == 200
    assert list(answer.json().get("ignored", {})) == ([ignored] if ignored else [])
    assert used(workspace) == counted
    assert Heartbeat.objects.get(pk=workspace.pk).uptime_seconds == 77


def test_the_largest_figures_for_ever_do_not_overflow(agent, workspace):
    Usage.objects.create(
        workspace=workspace,
        day=month_of(workspace.created_at).end.date(),
        input_tokens=0,
        output_tokens=0,
        total_calls=0,
    )
    agent.beat(usage={"total_calls": 10**18})
    Usage.objects.filter(total_calls__gt=0).update(total_calls=2**62 - 1)
    assert agent.beat(usage={"total_calls": 10**18}).status_code == 200
    assert Usage.objects.filter(total_calls=2**62).exists()


def history(workspace, **query):
    answer = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/usage", **query)
    assert answer.status_code == 200
    return answer.json()


def test_each_day_is_listed_in_order_with_zeros_where_nothing_ran(agent, workspace):
    agent.beat(usage={"total_calls": 3})
    today = Usage.objects.get().day
    for days_ago, input_tokens in ((2, 7), (31, 9)):
        day = today - timedelta(days=days_ago)
        Usage.objects.create(workspace=workspace, day=day, input_tokens=input_tokens, output_tokens=1, total_calls=1)
    listed = history(workspace)
    assert [row["day"] for row in listed] == [str(today - timedelta(days=number)) for number in range(30, -1, -1)]
    nothing = {"input_tokens": 0, "output_tokens": 0, "total_calls": 0}
    assert listed[-3:] == [
        {"day": str(today - timedelta(days=2)), "input_tokens": 7, "output_tokens": 1, "total_calls": 1},
        {"day": str(today - timedelta(days=1)), **nothing},
        {"day": str(today), **nothing, "total_calls": 3},
    ]
    assert all(row == {"day": row["day"], **nothing} for row in listed[:-3])


def test_the_history_of_a_workspace_that_never_ran_is_zero_on_each_day(workspace):
    assert [row["total_calls"] for row in history(workspace, days=3)] == [0, 0, 0]
    assert len(history(workspace, days=1)) == 1
    for days in (0, 401, "x"):
        assert holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/usage", days=days).status_code == 422


def test_the_history_has_no_days_whose_usage_was_deleted(workspace, settings):
    settings.RETENTION_USAGE_DAYS = 90
    assert len(history(workspace, days=400)) == 91
    assert len(history(workspace, days=20)) == 20
    settings.RETENTION_USAGE_DAYS = 0
    assert len(history(workspace, days=400)) == 400


def test_a_short_retention_deletes_nothing_of_the_present_month(workspace, settings):
    settings.RETENTION_USAGE_DAYS = 1
    month = month_of(database_now())
    for day in (month.first_day, month.first_day - timedelta(days=2)):
        Usage.objects.create(workspace=workspace, day=day, input_tokens=1, output_tokens=0, total_calls=0)
    assert used(workspace) == (1, 0, 0)
    list(prune(now=database_now()))
    assert used(workspace) == (1, 0, 0)
    assert [row.day for row in Usage.objects.all()] == [month.first_day]
    assert history(workspace, days=400)[0]["day"] <= str(month.first_day)


@pytest.mark.parametrize(
    ("zone", "now", "start", "end"),
    [
        ("UTC", "2026-01-31T23:30:00", "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"),
        ("Europe/Berlin", "2026-01-31T23:30:00", "2026-02-01T00:00:00+01:00", "2026-03-01T00:00:00+01:00"),
        ("Europe/Berlin", "2026-03-15T12:00:00", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
        ("America/New_York", "2026-12-01T03:00:00", "2026-11-01T00:00:00-04:00", "2026-12-01T00:00:00-05:00"),
        ("UTC", "2026-12-31T00:00:00", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
    ],
)
def test_a_month_is_one_of_the_zone(zone, now, start, end):
    with override_settings(BUDGET_TIME_ZONE=zone):
        month = month_of(datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (month.start.isoformat(), month.end.isoformat()) == (start, end)


def test_the_database_has_the_same_days_and_months_as_the_server(agent, workspace, settings):
    # A zone in which it is another day than in UTC, and no day that ends soon.
    settings.BUDGET_TIME_ZONE = "Pacific/Kiritimati" if datetime.now(UTC).hour >= 11 else "Etc/GMT+12"
    agent.beat(usage={"total_calls": 1}, monthly_spend=700)
    month = month_of(workspace.created_at)
    assert Heartbeat.objects.get(pk=workspace.pk).spend_month == month.first_day
    assert month.first_day <= Usage.objects.get().day < month.end.date()
    assert metrics(workspace)["estimated_cost_usd"] == "7.000000"
    assert holder(ApiScope.READ).get("/workspaces").json()[0]["monthly_spend"] == 700
