"""What describes never costs a report: it is mended, or left out and named in the answer."""

import json
import time
from datetime import timedelta

import pytest

from events.models import Event
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, config_for, failed, online
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import MAX_BUDGET_CENTS, ApiScope, Heartbeat, Workspace
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.sweep import sweep_stuck

pytestmark = pytest.mark.django_db
LIMIT = timedelta(seconds=180)


def silent(workspace):
    """Let the last heartbeat lie ten minutes back."""
    Heartbeat.objects.filter(pk=workspace.pk).update(last_heartbeat_at=database_now() - timedelta(minutes=10))


def raw(workspace, field, text):
    """Return the body of a heartbeat with this JSON text as a field's value."""
    return f'{{"workspace_id": "{workspace.pk}", "{field}": {text}}}'


@pytest.mark.parametrize(
    ("field", "text", "stored"),
    [
        ("sample_error", r'"x\u0000"', "x"),
        ("sample_error", r'"a\u0007b\u001b[31mred\u001b[0m"', "abred"),
        ("sample_error", r'"two\r\nlines"', "two\nlines"),
        ("sample_error", '"a raw\nline end"', "a raw\nline end"),
        ("sample_error", r'"half \ud800 of a pair"', "half ? of a pair"),
        ("sample_error", r'"\u202etfel ot thgir"', "tfel ot thgir"),
        ("sample_error", r'"\u200b\u2060"', ""),
        ("sample_error", r'"disk\u200b \ufefffull"', "disk full"),
        ("sample_error", r'"disk\u009b1m full\u001bPq\u001b\\"', "disk full"),
        ("current_task", r'"\ue000"', ""),
        ("sample_error", json.dumps("x" * 900_000), "x" * 4000),
        ("current_task", r'"\ud83d"', "?"),
        ("current_task", r'"\ud83d\ude80 launch"', "\N{ROCKET} launch"),
        ("current_task", r'"\u0085"', ""),
        ("uptime_seconds", "12.5", 12),
        ("uptime_seconds", "-1", 0),
        ("uptime_seconds", "1e400", 2**63 - 1),
        ("uptime_seconds", "1" * 5000, 2**63 - 1),
        ("uptime_seconds", "9223372036854775808", 2**63 - 1),
        ("active_tasks", "2.6", 3),
        ("active_tasks", "-1", 0),
        ("active_tasks", "2147483648", 2**31 - 1),
        ("monthly_spend", "12.4", 12),
        ("monthly_spend", "1e400", MAX_BUDGET_CENTS),
        ("runtime_metadata", r'{"capabilities": {"a\u0000b": true}}', {"capabilities": {"ab": True}}),
        ("runtime_metadata", '{"idle_timeout_seconds": -1}', {"idle_timeout_seconds": 0}),
    ],
)
def test_a_heartbeat_that_describes_badly_is_mended_and_keeps_its_workspace_alive(field, text, stored):
    up = online()
    Heartbeat.objects.filter(pk=up.pk).update(sample_error="before", current_task="before", active_tasks=7)
    silent(up)
    answer = AgentCaller(up).post("/registry/heartbeat", raw(up, field, text))
    assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')
    assert mark_silent_offline(now=database_now(), limit=LIMIT) == []
    kept = getattr(Heartbeat.objects.get(pk=up.pk), field)
    assert (stored.items() <= kept.items()) if isinstance(stored, dict) else (kept == stored)


DEEP = "[" * 200_000 + "]" * 200_000


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("error_rate", "1.01"),
        ("error_rate", "-0.1"),
        ("error_rate", '"0.1"'),
        ("error_rate", "true"),
        ("error_rate", "NaN"),
        ("error_rate", "1e400"),
        ("error_rate", "[0.1]"),
        ("error_rate", DEEP),
        ("runtime_state", '"asleep"'),
        ("runtime_state", "5"),
        ("sample_error", "5"),
        ("sample_error", '["x"]'),
        ("sample_error", '{"text": "x"}'),
        ("sample_error", DEEP),
        ("current_task", "true"),
        ("active_tasks", "true"),
        ("active_tasks", '"3"'),
        ("active_tasks", "NaN"),
        ("uptime_seconds", "[1]"),
        ("monthly_spend", '"5"'),
        ("runtime_metadata", '"x"'),
        ("runtime_metadata", DEEP),
        ("runtime_metadata.capabilities.x", '{"capabilities": {"x": "yes", "y": true}}'),
        ("runtime_metadata.idle_timeout_seconds", '{"idle_timeout_seconds": "5"}'),
    ],
    ids=lambda part: part[:30],
)
def test_a_wrong_field_of_a_heartbeat_is_ignored_by_name_and_the_heartbeat_counts(field, text):
    up = online()
    agent = AgentCaller(up)
    agent.beat(error_rate=0.2, sample_error="before", current_task="before", active_tasks=7, uptime_seconds=1)
    silent(up)
    stored = Heartbeat.objects.filter(pk=up.pk)
    # Leaving out current_task says something (test_left_out.py), unless it is the field that is wrong.
    kept = ["error_rate", "sample_error", "active_tasks", "uptime_seconds"]
    kept += ["current_task"] if field == "current_task" else []
    before = stored.values_list(*kept).get()
    answer = agent.post("/registry/heartbeat", raw(up, field.split(".")[0], text))
    assert answer.status_code == 200
    assert list(answer.json()["ignored"]) == [field]
    assert answer.json()["ignored"][field]
    assert mark_silent_offline(now=database_now(), limit=LIMIT) == []
    assert stored.values_list(*kept).get() == before
    if field == "runtime_metadata.capabilities.x":
        assert stored.get().runtime_metadata["capabilities"] == {"y": True}


def test_what_decides_still_counts_beside_a_wrong_field():
    up = online()
    AgentCaller(up).beat(error_rate=0.9, sample_error=["x"], uptime_seconds="x")
    assert Workspace.objects.get(pk=up.pk).status == WorkspaceStatus.DEGRADED


def test_a_heartbeat_with_wrong_fields_completes_a_boot():
    stuck = booting()
    answer = AgentCaller(stuck).beat(error_rate=7, sample_error=None, runtime_metadata=[])
    assert set(answer.json()["ignored"]) == {"error_rate", "runtime_metadata"}
    assert Workspace.objects.get(pk=stuck.pk).status == WorkspaceStatus.ONLINE


def by_agent(workspace, body):
    return AgentCaller(workspace).post("/registry/failed", f'{{"workspace_id": "{workspace.pk}", {body}}}')


def by_watcher(workspace, body):
    caller = holder(ApiScope.WATCH)
    return caller.post(f"/admin/workspaces/{workspace.pk}/bootstrap-failed", f"{{{body}}}")


@pytest.mark.parametrize("report", [by_agent, by_watcher])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r'"disk\u0000full"', "diskfull"),
        (r'"half \udfff"', "half ?"),
        (r'"\u001b[1;31mERROR\u001b[0m: disk full\u0007"', "ERROR: disk full"),
        ('"two\nraw lines"', "two\nraw lines"),
        (r'"safe \u202egnp.exe"', "safe gnp.exe"),
        ('["disk", "full"]', '["disk", "full"]'),
        ('{"message": "disk full"}', '{"message": "disk full"}'),
        ("5", "5"),
        ("true", "true"),
        (json.dumps("x" * 2_000_000), "x" * 4000),
        (r'"\u200b"', None),
        (r'"\u2800\u3164\ufeff"', None),
        (r'"\u0000"', None),
        ('"  "', None),
        ("null", None),
    ],
    ids=lambda part: repr(part)[:30],
)
def test_a_failure_is_told_whatever_its_error_holds(report, text, message):
    stuck = booting()
    answer = report(stuck, f'"code": "crashed", "error": {text}')
    assert answer.status_code == 200
    assert "ignored" not in answer.json()
    stuck.refresh_from_db()
    assert stuck.status == WorkspaceStatus.FAILED
    assert stuck.failure_message == (message or "No reason was given. Read the end of the log, if there is one.")
    assert Event.objects.latest("id").payload["error"] == stuck.failure_message


@pytest.mark.parametrize("report", [by_agent, by_watcher])
@pytest.mark.parametrize("log", ["\u200b", "\n\u2060\u2800\n", "\x1b[31m\u200b\x1b[0m"], ids=ascii)
def test_a_log_that_shows_nothing_is_empty(report, log):
    stuck = booting()
    assert report(stuck, f'"error": "x", "log_tail": {json.dumps(log)}').status_code == 200
    stuck.refresh_from_db()
    assert stuck.failure_log_tail == ""
    assert "log_tail" not in Event.objects.latest("id").payload


@pytest.mark.parametrize("report", [by_agent, by_watcher])
@pytest.mark.parametrize("size", [1_100_000, 7_000_000])
def test_a_long_log_is_cut_to_its_end_and_the_failure_counts(report, size):
    stuck = booting()
    answer = report(
        stuck, f'"code": "crashed", "error": "It broke.", "log_tail": {json.dumps("x" * size + " the end")}'
    )
    assert answer.status_code == 200
    stuck.refresh_from_db()
    assert stuck.failure_message == "It broke."
    assert stuck.failure_log_tail.endswith("x the end")


@pytest.mark.parametrize("report", [by_agent, by_watcher])
def test_a_report_over_eight_mebibytes_is_refused(report):
    stuck = booting()
    answer = report(stuck, f'"log_tail": {json.dumps("x" * 8 * 1_048_576)}')
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert Workspace.objects.get(pk=stuck.pk).status == WorkspaceStatus.PROVISIONING


@pytest.mark.parametrize(
    ("ignored", "body", "missing"),
    [
        ("code", '"code": "timed_out"', None),
        ("code", '"code": 5', None),
        ("missing", '"code": "missing_env", "missing": "API_KEY"', None),
        ("missing.1", '"code": "missing_env", "missing": ["API_KEY", "not a name", "B"]', ["API_KEY", "B"]),
        ("missing.0", '"code": "missing_env", "missing": [5, "B"]', ["B"]),
        ("missing", f'"missing": {json.dumps(["A"] * 201)}', None),
        ("missing", f'"missing": {json.dumps([5] * 201 + ["A"])}', None),
    ],
)
def test_a_wrong_code_or_name_is_ignored_and_the_failure_counts(ignored, body, missing):
    stuck = booting()
    answer = by_agent(stuck, f'"error": "It broke.", {body}')
    assert answer.status_code == 200
    assert list(answer.json()["ignored"]) == [ignored]
    stuck.refresh_from_db()
    assert (stuck.status, stuck.failure_message) == (WorkspaceStatus.FAILED, "It broke.")
    assert stuck.failure_code == ("missing_env" if missing or "missing_env" in body else "crashed")
    assert Event.objects.latest("id").payload.get("missing") == missing


def test_a_watcher_s_report_about_an_unreadable_launch_is_refused():
    stuck = booting()
    assert by_watcher(stuck, '"launch_id": "nonsense", "error": "x"').status_code == 422
    assert Workspace.objects.get(pk=stuck.pk).status == WorkspaceStatus.PROVISIONING


@pytest.mark.parametrize(
    ("card", "stored"),
    [
        (r'{"name": "a\u0000b"}', {"name": "ab"}),
        (
            r'{"name": "half \ud800", "n\u0000": [1e400, NaN, -1.5, true]}',
            {"name": "half ?", "n": [None, None, -1.5, True]},
        ),
        (r'{"name": "\u202eevil", "skills": [{"id": "x\u0007"}]}', {"name": "evil", "skills": [{"id": "x"}]}),
        ('{"a": ' + "1" * 5000 + "}", {"a": None}),
    ],
    ids=lambda part: repr(part)[:30],
)
def test_a_card_is_mended_and_its_workspace_online(card, stored):
    stuck = booting()
    body = f'{{"id": "{stuck.pk}", "url": "http://localhost:9", "agent_card": {card}}}'
    answer = AgentCaller(stuck).post("/registry/register", body)
    assert (answer.status_code, answer.content) == (200, b'{"status":"registered"}')
    stuck.refresh_from_db()
    assert (stuck.status, stuck.agent_card) == (WorkspaceStatus.ONLINE, stored)


def test_a_card_that_nests_too_deep_is_cut_at_its_depth():
    stuck = booting()
    body = f'{{"id": "{stuck.pk}", "url": "", "agent_card": {{"deep": {DEEP}, "name": "a"}}}}'
    assert AgentCaller(stuck).post("/registry/register", body).status_code == 200
    stuck.refresh_from_db()
    assert (stuck.status, stuck.agent_card["name"]) == (WorkspaceStatus.ONLINE, "a")


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("agent_card", {"agent_card": ["x"]}),
        ("agent_card", {"agent_card": "x"}),
        ("agent_card", {"agent_card": {"note": "x" * 65_536}}),
        ("url", {"url": 5}),
        ("url", {"url": ["http://localhost:9"]}),
    ],
)
def test_a_register_with_a_wrong_field_brings_its_workspace_online_and_keeps_the_earlier_card(field, body):
    stuck = booting()
    Workspace.objects.filter(pk=stuck.pk).update(agent_card={"name": "earlier"})
    answer = AgentCaller(stuck).register(**body)
    assert (answer.status_code, list(answer.json()["ignored"])) == (200, [field])
    stuck.refresh_from_db()
    assert stuck.status == WorkspaceStatus.ONLINE
    assert stuck.agent_card == {"name": "earlier" if field == "agent_card" else "a"}


@pytest.mark.parametrize("url", ["http://localhost/\0", "http://localhost/\ud800", "http://localhost/\x7f", 5])
def test_an_external_agent_needs_an_address(url):
    theirs = create(CreateRequest(name="theirs", external=True), now=database_now()).workspace
    answer = AgentCaller(theirs).register(url=url)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["url"])
    assert Workspace.objects.get(pk=theirs.pk).status == WorkspaceStatus.AWAITING_AGENT


STEPS = [
    ("\u00e9tape\u00a0: un", "\u00e9tape : un"),
    ("e\u0301tape", "\u00e9tape"),
    ("two\nlines", "two lines"),
    ("\x1b[2Jinstall\x07", "install"),
    ("in\u200bstall\0", "install"),
    ("half \ud800", "half ?"),
    ("\u202eexe.txt", "exe.txt"),
    ("\N{WOMAN}\u200d\N{PERSONAL COMPUTER} build", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER} build"),
    ("x" * 5000, "x" * 200),
    (5, "5"),
    (["pip", "install"], '["pip", "install"]'),
    ("", "unnamed step"),
    (" \u200b ", "unnamed step"),
    (None, "unnamed step"),
]


@pytest.mark.parametrize(("step", "stored"), STEPS, ids=lambda part: ascii(part)[:30])
def test_a_step_is_mended_and_moves_the_stall_clock(step, stored):
    begun = database_now() - timedelta(seconds=50)
    stuck = booting(now=begun, config=config_for("echo", "runtime_config: {stall_timeout_seconds: 60}\n"), runtime="")
    answer = AgentCaller(stuck).progress(step=step)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    stuck.refresh_from_db()
    assert stuck.progress_step == stored
    assert sweep_stuck(now=begun + timedelta(seconds=100), policy=Policy()).failed == []


def test_a_late_agent_s_wrong_fields_undo_a_deadline_failure():
    late = failed(code=FailureCode.STALLED)
    assert AgentCaller(late).beat(sample_error={"x": 1}, uptime_seconds=True).status_code == 200
    assert Workspace.objects.get(pk=late.pk).status == WorkspaceStatus.ONLINE


ODD_KEYS = [
    "\\ud800",
    "x\\ud800",
    "\\udfff\\ud800",
    "\\ufffd",
    "",
    "0",
    "-1",
    "[key]",
    "a.b",
    "\\u0000",
    "__proto__",
    "k" * 300,
]
BAD_VALUES = ["3", '"x"', "null", "[]", '{"\\ud800": 1}']


def nested(key, value):
    """Return the fields of each report call with an odd key on each level that takes keys or items."""
    pair = f'"{key}": {value}'
    yield pair
    for field in ("error_rate", "sample_error", "code", "missing", "error", "log_tail", "step", "agent_card", "url"):
        yield f'"{field}": {{{pair}}}'
        yield f'"{field}": [{{{pair}}}, {{{pair}}}]'
    yield f'"runtime_metadata": {{{pair}}}'
    yield f'"runtime_metadata": {{"capabilities": {{{pair}, "\\udbff": 3, "fine": true}}}}'
    yield f'"runtime_metadata": {{"capabilities": [{{{pair}}}], "idle_timeout_seconds": {{{pair}}}}}'


@pytest.mark.parametrize(
    ("key", "value"), list(zip(ODD_KEYS, BAD_VALUES * 3, strict=False)), ids=lambda part: part[:10]
)
def test_no_key_on_any_level_costs_a_report(key, value):
    stuck = booting()
    url, card = '"url": "http://localhost:9"', '"agent_card": {}'
    for fields in nested(key, value):
        calls = {
            "register": f'"id": "{stuck.pk}", {url}, {card}, {fields}',
            "heartbeat": f'"workspace_id": "{stuck.pk}", {fields}',
            "progress": f'"workspace_id": "{stuck.pk}", {fields}',
            "failed": f'"workspace_id": "{stuck.pk}", {fields}',
        }
        for call, body in calls.items():
            answer = AgentCaller(stuck).post(f"/registry/{call}", f"{{{body}}}")
            assert answer.status_code == 200, (call, body, answer.content)
        assert by_watcher(stuck, fields).status_code == 200, fields


@pytest.mark.parametrize("key", ["\\ud800", "x\\ud800"])
@pytest.mark.parametrize("value", ["3", '"x"'])
def test_a_field_whose_wrong_part_is_not_found_is_left_out_whole(key, value):
    up = online()
    metadata = f'{{"capabilities": {{"{key}": {value}}}}}'
    answer = AgentCaller(up).post("/registry/heartbeat", raw(up, "runtime_metadata", metadata))
    assert (answer.status_code, list(answer.json()["ignored"])) == (200, ["runtime_metadata"])
    assert Heartbeat.objects.get(pk=up.pk).runtime_metadata == {}


def test_a_report_with_very_many_wrong_parts_is_read_at_once():
    up = online()
    many = json.dumps({"capabilities": {f"a{number}": 3 for number in range(60_000)}})
    began = time.process_time()
    answer = AgentCaller(up).post("/registry/heartbeat", raw(up, "runtime_metadata", many))
    assert (answer.status_code, list(answer.json()["ignored"])) == (200, ["runtime_metadata"])
    assert time.process_time() - began < 5
