"""Boot times of past launches: the plot, and what another limit would have done."""

import html
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from postgres.clock import database_now
from tests.callers import holder
from tests.workspaces.factories import booting, online, queued
from workspaces.admin.boot_time_chart import boot_time_charts
from workspaces.configuration.preflight import preflight
from workspaces.deadlines.boot_times import evaluate_limit, phase_times
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import Phase
from workspaces.models import ApiScope, Launch, LaunchOutcome

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


def recorded(minutes, *, outcome="online", code="", runtime="hermes"):
    """Record a launch of an hour ago whose boot took this many minutes."""
    now = database_now() - timedelta(hours=1)
    row = queued(runtime=runtime)
    Launch.objects.filter(pk=row.launch_id).update(
        outcome=LaunchOutcome(outcome),
        failure_code=code,
        queued_at=now,
        launching_at=now + timedelta(seconds=3),
        booting_at=now + timedelta(seconds=4),
        ended_at=now + timedelta(seconds=4, minutes=minutes),
    )


def evaluated(limit_minutes):
    return evaluate_limit(runtime="hermes", limit=limit_minutes * MINUTE, since=database_now() - timedelta(days=1))


def test_a_shorter_limit_would_have_failed_longer_boots_and_saved_waiting():
    for minutes in (5, 12, 21, 29):
        recorded(minutes)
    recorded(30, outcome="failed", code="timed_out")
    found = evaluated(20)
    assert (found.healthy, found.false_timeouts, found.failed, found.saved) == (4, 2, 1, 10 * MINUTE)
    assert found.longest == 29 * MINUTE


def test_a_longer_limit_would_have_cost_waiting_for_deadline_failures_but_not_for_crashes():
    recorded(30, outcome="failed", code="timed_out")
    recorded(2, outcome="failed", code="crashed")
    assert evaluated(40).saved == -10 * MINUTE


def test_an_evaluation_counts_no_other_runtime_and_no_older_launch():
    recorded(5, runtime="echo")
    recorded(5)
    Launch.objects.filter(runtime="hermes").update(launching_at=database_now() - timedelta(days=2))
    assert (evaluated(1).healthy, evaluated(1).false_timeouts) == (0, 0)


def test_phase_times_include_the_size_of_the_sample():
    for minutes in range(1, 101):
        recorded(minutes)
    recorded(500, outcome="failed", code="timed_out")
    times = {each.phase: each for each in phase_times(since=database_now() - timedelta(days=1))}
    assert set(times) == {"queued", "launching", "booting"}
    assert times["booting"].number == 100
    assert times["booting"].p50 == pytest.approx(50.5 * 60)
    assert times["booting"].p99 == pytest.approx(99.01 * 60)
    assert times["booting"].maximum == 6000
    assert times["queued"].p95 == pytest.approx(3)
    assert times["launching"].maximum == pytest.approx(1)


def test_the_chart_shows_the_limits_in_force_beside_the_times():
    recorded(5)
    (chart,) = boot_time_charts(now=database_now(), policy=Policy())
    row = chart.rows[-1]
    assert (row.phase, row.boots, row.sweep.text, row.inner.text) == (Phase.BOOTING, 1, "30 min", "25 min")
    assert row.times[0].x < row.inner.x < row.sweep.x <= 590
    (chart,) = boot_time_charts(now=database_now(), policy=Policy(override_seconds=60))
    row = chart.rows[-1]
    assert row.sweep.text == "1 min"
    assert row.sweep.x < row.times[0].x


def test_the_first_page_shows_the_chart_with_its_sample(admin_client):
    recorded(5)
    page = admin_client.get("/admin/").content.decode()
    assert "<svg" in page
    assert "hermes <small>(1 healthy boot)</small>" in page
    assert "limit: 30 min" in page


def output_of(*arguments):
    out = StringIO()
    call_command("deadlines", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_the_command_prints_the_evaluation_as_one_sentence():
    recorded(21)
    recorded(30, outcome="failed", code="timed_out")
    assert output_of("--replay", "30d", "--runtime", "hermes", "--limit", "20m") == (
        "A limit of 20 min would have failed 1 of 1 healthy boots of hermes in the last 30 d "
        "(the longest took 21 min), and saved 10 minutes of waiting for 1 that failed.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--replay", "30d"), "--runtime and --limit"),
        (("--replay", "30", "--runtime", "hermes", "--limit", "20m"), "such as 20m"),
        (("nobody",), "There is no workspace 'nobody'"),
    ],
)
def test_an_incomplete_command_says_what_is_missing(arguments, wanted):
    with pytest.raises(CommandError, match=wanted):
        output_of(*arguments)


def test_the_command_explains_where_a_runtimes_limits_come_from():
    text = output_of("hermes")
    assert "queued        10 min, from the default" in text
    assert "launching     2 min, from the default; the backend's own start may take 30 s" in text
    assert (
        "booting       30 min, from its runtime (workspaces/deadlines/policy.py); the watcher takes its last look"
        in text
    )


def test_the_command_without_a_subject_explains_all_runtimes():
    text = output_of()
    assert "hermes:" in text
    assert "every other runtime:\n" in text
    assert "booting       10 min, from the default; the watcher takes its last look after 8 min" in text


def test_the_command_explains_a_workspaces_own_limit_and_current_deadline():
    booting(name="mine", provision_timeout_seconds=300)
    text = output_of("mine")
    assert "booting       5 min, from the workspace's own provision_timeout_seconds" in text
    assert re.search(r"It is booting; the limit for booting passes in [45] min", text)


SHORTER = "name: short\nruntime: hermes\nruntime_config: {provision_timeout_seconds: 720}\n"
BOTH_LIMITS = "(720 seconds) doesn't count, because the limit of the runtime hermes is longer (1800 seconds)"


@pytest.fixture
def short_template(settings, tmp_path):
    """A catalog with a hermes template whose own limit is 720 seconds."""
    folder = tmp_path / "short"
    folder.mkdir()
    (folder / "config.yaml").write_text(SHORTER)
    settings.CATALOG_DIRS = [tmp_path]


def test_the_command_warns_of_a_templates_limit_that_does_not_count(short_template):
    booting(name="mine", template="short", config="", runtime="")
    for text in (output_of("mine"), output_of("hermes"), output_of()):
        assert BOTH_LIMITS in text
    assert "booting       30 min" in output_of("mine")
    assert "template short: " in output_of("hermes")


def test_the_command_does_not_warn_of_a_limit_that_is_meant():
    booting(name="mine", config=SHORTER.replace("720", "720, provision_timeout_override: true"), runtime="")
    assert "Warning" not in output_of("mine")
    assert "booting       12 min" in output_of("mine")


def test_the_api_and_the_admin_warn_of_a_templates_limit_that_does_not_count(short_template, client):
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "w", "template": "short"}).json()
    assert BOTH_LIMITS in answer["warnings"][0]["message"]
    client.force_login(User.objects.create_superuser("operator"))
    page = client.get(f"/admin/workspaces/workspace/{answer['id']}/change/").content.decode()
    assert BOTH_LIMITS in html.unescape(page)


def test_preflight_warns_of_a_templates_limit_that_does_not_count(short_template):
    prepared = preflight(queued(template="short", config=""))
    assert prepared.provision_timeout_seconds == 720
    assert any(BOTH_LIMITS in warning.message for warning in prepared.warnings)


def test_the_command_names_the_override_for_every_phase(settings):
    settings.PROVISION_TIMEOUT_SECONDS = 60
    assert output_of("hermes").count("1 min, from PROVISION_TIMEOUT_SECONDS in the environment") == 3


def test_a_workspace_that_waits_for_nothing_has_no_deadline_to_explain():
    online(name="here")
    assert "It is online and has no deadline" in output_of("here")
