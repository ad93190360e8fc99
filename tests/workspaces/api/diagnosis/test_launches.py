"""/launches: which launches failed, when, how long each phase took, and why."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import relay
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, bring_online, external, failed, online, queued
from workspaces.access.secrets import put_secrets
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import FailureCode, FailureSource
from workspaces.models import ApiScope, Launch
from workspaces.operations import remove, restart
from workspaces.provisioners.base import BackendState, LaunchKey, Observation
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.watching.evidence import store_evidence
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def reader():
    return holder(ApiScope.READ)


@pytest.fixture
def week():
    """Launches of one week, each begun an hour after the one before."""
    failed(name="hermes fails", runtime="hermes", code=FailureCode.CRASHED, now=NOON)
    failed(name="echo fails", code=FailureCode.MISSING_ENV, now=NOON + timedelta(hours=1))
    online(name="hermes runs", runtime="hermes", now=NOON + timedelta(hours=2))
    queued(name="waits", now=NOON + timedelta(hours=3))
    external(name="outside", now=NOON + timedelta(hours=4))


def names(reader, path="/launches", **query):
    answer = reader.get(path, **query)
    assert answer.status_code == 200, answer.content
    return [row["workspace_name"] for row in answer.json()]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["outside", "waits", "hermes runs", "echo fails", "hermes fails"]),
        ({"sort": "queued_at"}, ["hermes fails", "echo fails", "hermes runs", "waits", "outside"]),
        ({"runtime": "hermes"}, ["hermes runs", "hermes fails"]),
        ({"outcome": "failed"}, ["echo fails", "hermes fails"]),
        ({"outcome": ["in_flight", "online"], "backend": "process"}, ["waits", "hermes runs"]),
        ({"failure_code": ["crashed", "timed_out"]}, ["hermes fails"]),
        ({"backend": "external"}, ["outside"]),
        ({"since": "2026-03-04T15:00:00Z"}, ["outside", "waits"]),
        ({"since": "2026-03-04T15:00:00", "until": "2026-03-04T17:00+01:00"}, ["waits"]),
        ({"until": "2026-03-04"}, []),
        ({"runtime": "hermes", "outcome": "failed", "since": "2026-03-04"}, ["hermes fails"]),
        ({"limit": "2"}, ["outside", "waits"]),
    ],
)
def test_which_launches_failed_is_one_query(reader, week, query, found):
    assert names(reader, **query) == found


def test_pages_hold_every_launch_once_also_those_of_one_moment(reader):
    for number in range(5):
        queued(name=f"at once {number}", now=NOON)
    for sort in ("queued_at", "-queued_at"):
        seen, address, query = [], "/launches", {"limit": 2, "sort": sort}
        while address:
            answer = reader.get(address, **query)
            seen += [row["workspace_name"] for row in answer.json()]
            address, query = answer.get("Link", "").removeprefix("<").split(">")[0], {}
            assert len(seen) <= 5
        assert sorted(seen) == [f"at once {number}" for number in range(5)]


def test_a_failed_launch_tells_when_and_why_also_after_later_ones(reader):
    workspace = failed(now=NOON)
    launch_id = workspace.launch_id
    restart(workspace.pk)
    shown = reader.get(f"/launches/{launch_id}").json()
    assert shown["failure"]["code"] == "crashed"
    assert shown["failure"]["message"] == "It broke."
    assert shown["failure"]["advice"]
    assert (shown["outcome"], shown["is_current"]) == ("failed", False)
    assert shown["teardown"]["reason"] == "restarted"
    # The new launch is current, and has not failed.
    newest, _ = reader.get(f"/workspaces/{workspace.pk}/launches").json()
    assert (newest["is_current"], newest["failure"], newest["outcome"]) == (True, None, "in_flight")


def test_phases_have_their_times(reader):
    workspace = booting(now=NOON)
    Launch.objects.update(launching_at=NOON + timedelta(seconds=5), booting_at=NOON + timedelta(seconds=7.5))
    (shown,) = reader.get(f"/workspaces/{workspace.pk}/launches").json()
    assert [(each["phase"], each["seconds"]) for each in shown["phases"]] == [
        ("queued", 5),
        ("launching", 2.5),
        ("booting", None),
    ]
    assert shown["phases"][2]["entered_at"] == "2026-03-04T12:00:07.500Z"
    bring_online(workspace, now=NOON + timedelta(seconds=10))
    (shown,) = reader.get(f"/workspaces/{workspace.pk}/launches").json()
    assert (shown["phases"][2]["seconds"], shown["ended_at"]) == (2.5, "2026-03-04T12:00:10Z")


def test_the_phase_in_which_a_launch_ended_ends_with_it(reader):
    workspace = queued(now=NOON)
    reason = FailureReason(code=FailureCode.NEVER_LAUNCHED, source=FailureSource.OPERATOR, message="Not begun.")
    fail(workspace_id=workspace.pk, launch_id=workspace.launch_id, reason=reason, now=NOON + timedelta(seconds=30))
    (shown,) = reader.get("/launches").json()
    assert [(each["phase"], each["seconds"]) for each in shown["phases"]] == [("queued", 30)]


def test_what_was_seen_of_it_is_shown(reader):
    workspace = booting()
    key = LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    store_evidence(key, Observation(state=BackendState.EXITED, exit_code=3), now=NOON)
    assert reader.get(f"/launches/{workspace.launch_id}").json()["evidence"] == {
        "state": "exited",
        "exit_code": 3,
        "at": NOON.isoformat(),
    }


def test_launches_that_a_sweep_fails_together_keep_their_own_messages(reader):
    rows = [booting(name="quick", now=NOON), booting(name="slow", runtime="hermes", now=NOON)]
    sweep_stuck(now=NOON + timedelta(hours=1), policy=current_policy())
    for row in rows:
        row.refresh_from_db()
        shown = reader.get(f"/launches/{row.launch_id}").json()
        assert shown["failure"]["message"] == row.failure_message != ""
    assert rows[0].failure_message != rows[1].failure_message


def test_a_late_registration_leaves_no_failure_but_says_what_it_undid(reader):
    workspace = failed(now=NOON, code=FailureCode.TIMED_OUT)
    bring_online(workspace, now=NOON + timedelta(minutes=1))
    shown = reader.get(f"/launches/{workspace.launch_id}").json()
    assert (shown["outcome"], shown["failure"], shown["undone_failure_code"]) == ("online", None, "timed_out")
    assert Launch.objects.get().failure_message == ""


def test_a_secret_in_a_failure_is_masked(reader):
    workspace = booting()
    put_secrets({"KEY": "hunter2-hunter2"}, workspace_id=workspace.pk)
    reason = FailureReason(
        code=FailureCode.CRASHED, source=FailureSource.AGENT, message="No login with hunter2-hunter2."
    )
    fail(workspace_id=workspace.pk, launch_id=workspace.launch_id, reason=reason, now=NOON)
    answer = reader.get(f"/launches/{workspace.launch_id}")
    assert b"No login with" in answer.content
    assert b"hunter2" not in answer.content


def test_launches_of_a_removed_workspace_are_still_told(reader):
    workspace = online()
    remove(workspace.pk)
    (shown,) = reader.get(f"/workspaces/{workspace.pk}/launches").json()
    assert shown["teardown"]["reason"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outcome", "lost"),
        ("failure_code", "bad luck"),
        ("backend", "cloud"),
        ("since", "yesterday"),
        ("since", "0.5"),
        ("until", "1772640000"),
        ("until", "2026-02-30"),
        ("sort", "name"),
        ("limit", "0"),
        ("limit", "1001"),
        ("cursor", "x"),
        ("cursor", "WyJxdWV1ZWRfYXQiLCAiYSIsICJiIl0"),
        ("colour", "red"),
    ],
)
def test_a_wrong_filter_is_refused_by_name(reader, name, value):
    answer = reader.get("/launches", **{name: value})
    assert (answer.status_code, [field.split(".")[0] for field in answer.json()["fields"]]) == (422, [name])


def test_extreme_times_are_no_error(reader, week):
    assert names(reader, until="0001-01-01T00:00:00+14:00") == []
    assert names(reader, since="9999-12-31T23:59:59-14:00") == []


def test_times_may_name_any_zone(reader, week):
    wanted = names(reader, since="2026-03-04T15:00:00Z", until="2026-03-04T16:00:00Z")
    assert names(reader, since="2026-03-05T14:59:00+23:59", until="2026-03-03T16:01:00-23:59") == wanted == ["waits"]


@pytest.mark.parametrize(
    ("moment", "found"),
    [("2026-03-05T14:59:00+23:59", 1), ("0001-01-01T00:00:00+23:59", 5), ("9999-12-31T23:59:59-23:59", 0)],
    ids=["in a far zone", "before all times", "behind all times"],
)
def test_a_cursor_may_name_a_time_in_any_zone(reader, week, moment, found):
    place = json.dumps(["queued_at", moment, str(uuid.UUID(int=2**128 - 1))])
    cursor = base64.urlsafe_b64encode(place.encode()).decode()
    assert len(names(reader, sort="queued_at", cursor=cursor)) == found


@pytest.mark.parametrize("path", ["/launches/{}", "/workspaces/{}/launches"])
@pytest.mark.parametrize("unknown", [uuid.uuid4(), "x"])
def test_an_unknown_id_is_not_found(reader, path, unknown):
    answer = reader.get(path.format(unknown))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_list_takes_the_same_queries_however_long_it_is(reader):
    def number_of_queries():
        with CaptureQueriesContext(connection) as queries:
            reader.get("/launches")
        return len(queries)

    failed()
    one = number_of_queries()
    for _ in range(4):
        failed(), online()
    assert number_of_queries() == one


def test_an_agent_reads_the_history_of_its_own_workspace_and_of_no_other():
    own, other = online(name="own"), online(name="other")
    relay.number_all()
    agent = AgentCaller(own)
    agent.beat(usage={"input_tokens": 3, "output_tokens": 2, "total_calls": 1, "counter": 1})
    assert [row["id"] for row in agent.get(f"/workspaces/{own.pk}/launches").json()] == [str(own.launch_id)]
    assert sum(row["input_tokens"] for row in agent.get(f"/workspaces/{own.pk}/usage").json()) == 3
    events = agent.get(f"/events/{own.pk}").json()
    assert [row["event_type"] for row in events] == ["WORKSPACE_ONLINE", "WORKSPACE_PROVISIONING"]
    assert {row["workspace_id"] for row in events} == {str(own.pk)}
    refused = [
        *(f"/workspaces/{other.pk}/launches", f"/workspaces/{other.pk}/usage", f"/events/{other.pk}"),
        *("/launches", f"/launches/{own.launch_id}", "/events", "/workspaces"),
    ]
    assert {agent.get(path).status_code for path in refused} == {403}
