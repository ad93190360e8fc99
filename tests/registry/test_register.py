"""An agent registers."""

from base64 import b64encode
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.masking.masker import MASK
from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import AgentCaller, Caller, holder
from tests.workspaces.factories import booting, external, failed, later, online
from workspaces.access.secrets import put_secrets
from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import ApiScope, Heartbeat, Launch, Workspace
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.launching.restart import restart
from workspaces.services.watching.liveness import mark_silent_offline

pytestmark = pytest.mark.django_db


def test_a_register_completes_the_boot():
    stuck = booting()
    answer = AgentCaller(stuck).register(agent_card={"name": "hermes", "skills": [{"id": "x"}]})
    assert (answer.status_code, answer.content) == (200, b'{"status":"registered"}')
    stuck.refresh_from_db()
    assert stuck.status == WorkspaceStatus.ONLINE
    assert stuck.agent_card == {"name": "hermes", "skills": [{"id": "x"}]}


def test_a_process_has_the_url_of_its_backend_whatever_the_agent_sends():
    stuck = booting()
    assert AgentCaller(stuck).register(url="http://169.254.169.254/latest").status_code == 200
    stuck.refresh_from_db()
    assert stuck.url == "http://127.0.0.1:4000"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://127.0.0.1:80/",
        "http://[::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://10.0.0.7/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]/",
        "http://[fec0::1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://0177.0.0.1/",
        "http://[fe80::1%25eth0]/",
        "http://100.64.0.1/",
        "http://203.0.113.9/",
        "http://224.0.0.1/",
        "ftp://localhost/",
        "http://user:pw@localhost/",
        "localhost:80",
        "http://local host/",
        "",
        "http://" + "a" * 3000,
    ],
)
def test_a_forbidden_url_is_refused_by_field(url):
    agent, workspace = external()
    answer = agent.post("/registry/register", {"id": str(workspace.pk), "url": url, "agent_card": {}})
    assert answer.status_code == 422
    assert list(answer.json()["fields"]) == ["url"]
    workspace.refresh_from_db()
    assert (workspace.status, workspace.url) == (WorkspaceStatus.AWAITING_AGENT, "")


def test_a_long_boot_does_not_count_as_silence():
    slow = booting(runtime="hermes", now=database_now() - timedelta(minutes=20))
    AgentCaller(slow).register()
    assert mark_silent_offline(now=database_now(), limit=timedelta(seconds=180)) == []


def test_registering_again_replaces_the_card_and_keeps_the_status():
    up = online()
    agent = AgentCaller(up)
    assert agent.register(agent_card={"name": "new"}).status_code == 200
    assert agent.register(agent_card={"name": "new"}).status_code == 200
    up.refresh_from_db()
    assert (up.agent_card, up.version) == ({"name": "new"}, 2)
    assert Event.objects.filter(event_type=EventType.AGENT_CARD_UPDATED).count() == 1


def test_a_card_that_changes_all_the_time_is_kept_as_it_is_and_costs_neither_events_nor_liveness():
    up = online()
    agent = AgentCaller(up)
    answers = [agent.register(agent_card={"name": "x" * 1000, "n": number}) for number in range(60)]
    assert {answer.status_code for answer in answers} == {200}
    ignored = [answer.json().get("ignored") for answer in answers]
    assert ignored[:20] == [None] * 20
    assert all("20 times within an hour" in each["agent_card"] for each in ignored[20:])
    up.refresh_from_db()
    assert (up.agent_card["n"], up.status) == (19, WorkspaceStatus.ONLINE)
    assert Event.objects.filter(event_type=EventType.AGENT_CARD_UPDATED).count() == 20
    Heartbeat.objects.filter(pk=up.pk).update(last_heartbeat_at=database_now() - timedelta(hours=1))
    assert "ignored" in agent.register(agent_card={"name": "newer"}).json()
    assert mark_silent_offline(now=database_now(), limit=timedelta(minutes=30)) == []
    assert "ignored" not in AgentCaller(online(name="other")).register(agent_card={"name": "new"}).json()


def test_a_late_register_undoes_a_deadline_failure():
    late = failed(code=FailureCode.TIMED_OUT)
    assert AgentCaller(late).register().status_code == 200
    late.refresh_from_db()
    assert (late.status, late.failure_code) == (WorkspaceStatus.ONLINE, "")
    assert Event.objects.latest("id").payload["recovered_from"] == "failed"


def test_a_register_after_a_final_failure_is_refused_with_the_status():
    broken = failed(code=FailureCode.CRASHED)
    Launch.objects.update(torn_down_at=None)
    answer = AgentCaller(broken).register()
    assert answer.status_code == 409
    assert answer.json()["code"] == "transition_refused"
    assert answer.json()["workspace_status"] == "failed"
    assert Workspace.objects.get(pk=broken.pk).version == broken.version


def test_an_earlier_launch_s_agent_gets_the_code_superseded():
    stuck = booting()
    agent = AgentCaller(stuck)
    restart(workspace_id=stuck.pk, now=database_now())
    for answer in (agent.register(), agent.beat(), agent.progress(), agent.failed()):
        assert (answer.status_code, answer.json()["code"]) == (401, "superseded")
    assert Workspace.objects.get(pk=stuck.pk).status == WorkspaceStatus.PROVISIONING


def test_the_agent_of_a_removed_workspace_gets_410():
    stuck = booting()
    agent = AgentCaller(stuck)
    holder(ApiScope.OPERATE).delete(f"/workspaces/{stuck.pk}")
    for answer in (agent.register(), agent.beat(), agent.progress(), agent.failed()):
        assert (answer.status_code, answer.json()["code"]) == (410, "removed")


def test_an_agent_reports_for_its_own_workspace_only():
    own, other = booting(name="own"), booting(name="other")
    agent = AgentCaller(own)
    claims = {"id": str(other.pk), "workspace_id": str(other.pk)}
    reports = (agent.register(**claims), agent.beat(**claims), agent.progress(**claims), agent.failed(**claims))
    for answer in reports:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert Workspace.objects.get(pk=other.pk).version == other.version


def test_a_secret_in_a_card_reaches_neither_row_nor_event():
    stuck = booting()
    put_secrets({"KEY": "sk-very-secret-value"}, workspace_id=stuck.pk)
    AgentCaller(stuck).register(agent_card={"name": "a", "env": [{"key": "is sk-very-secret-value"}]})
    stuck.refresh_from_db()
    assert "sk-very" not in str(stuck.agent_card)
    assert "sk-very" not in str(Event.objects.latest("id").payload)
    assert stuck.agent_card["name"] == "a"


SECRET = "sk-very/secret value"


@pytest.mark.parametrize("owner", ["own", "global"])
@pytest.mark.parametrize(
    "behind_host",
    [
        "/cb?k=sk-very%2Fsecret%20value",
        "/cb?k=sk-very/secret+value",
        "/sk-very/secret%20value/a2a",
        "#sk-very/secret%20value",
        f"?k={b64encode(SECRET.encode()).decode()}",
        "?k={token}",
    ],
)
def test_a_url_with_a_secret_is_refused_by_field_and_reaches_neither_row_nor_event(owner, behind_host):
    agent, workspace = external()
    put_secrets({"KEY": SECRET}, workspace_id=workspace.pk if owner == "own" else None)
    url = "http://8.8.8.8" + behind_host.replace("{token}", mint_agent_token(workspace))
    answer = agent.post("/registry/register", {"id": str(workspace.pk), "url": url, "agent_card": {}})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["url"])
    workspace.refresh_from_db()
    assert (workspace.status, workspace.url) == (WorkspaceStatus.AWAITING_AGENT, "")
    assert url not in str(list(Event.objects.values_list("payload")))


@pytest.mark.parametrize("owner", ["own", "global"])
def test_an_operator_s_url_with_a_secret_is_refused_by_field(owner):
    own = {"KEY": SECRET} if owner == "own" else {}
    if not own:
        put_secrets({"KEY": SECRET}, workspace_id=None)
    body = {"name": "theirs", "external": True, "url": "http://8.8.8.8/cb?k=sk-very/secret+value", "secrets": own}
    answer = holder(ApiScope.OPERATE).post("/workspaces", {**body, "labels": {"": "x"}})
    assert (answer.status_code, set(answer.json()["fields"])) == (422, {"url", "labels"})
    assert not Workspace.objects.exists()


@pytest.mark.parametrize(
    "url", ["http://8.8.8.8:8000/prod/1/v1/", "http://localhost:8000/v1/?region=eu", "http://8.8.8.8:8000/long"]
)
def test_a_value_that_is_no_secret_of_the_url_keeps_no_agent_away(url):
    agent, workspace = external()
    values = {"A": "8000", "B": "localhost", "C": "prod", "D": "1", "E": "http://9.9.9.9/v1/", "F": "/long-secret"}
    put_secrets(values, workspace_id=workspace.pk)
    answer = agent.post("/registry/register", {"id": str(workspace.pk), "url": url, "agent_card": {}})
    assert answer.status_code == 200
    workspace.refresh_from_db()
    assert workspace.url == url


@pytest.mark.parametrize("make", [booting, external])
def test_a_register_with_a_url_and_a_card_reads_the_secrets_once(make):
    agent = AgentCaller(make(secrets={"KEY": "sk-very-secret-value"}))
    with CaptureQueriesContext(connection) as queries:
        answer = agent.register(url="http://localhost:9000/", agent_card={"name": "sk-very-secret-value"})
    assert answer.status_code == 200
    assert Workspace.objects.get(pk=agent.workspace.pk).agent_card == {"name": MASK}
    assert len([query for query in queries if "workspaces_secret_values" in query["sql"]]) == 1


def test_a_register_without_a_card_of_a_process_of_ours_reads_no_secrets():
    agent = AgentCaller(booting(secrets={"KEY": "sk-very-secret-value"}))
    with CaptureQueriesContext(connection) as queries:
        assert agent.register(agent_card=None).status_code == 200
    assert not [query for query in queries if "workspaces_secret_values" in query["sql"]]


def test_a_secret_among_missing_names_reaches_no_event():
    stuck = booting(secrets={"KEY": "sk_very_secret_value"})
    AgentCaller(stuck).failed(code="missing_env", error="x", missing=["sk_very_secret_value", "API_KEY"])
    assert Event.objects.latest("id").payload["missing"] == ["•" * 6, "API_KEY"]


def test_a_secret_among_capabilities_reaches_no_row():
    up = online()
    put_secrets({"KEY": "sk_very_secret_value"}, workspace_id=up.pk)
    AgentCaller(up).beat(runtime_metadata={"capabilities": {"is sk_very_secret_value": True, "status_mgmt": True}})
    stored = Heartbeat.objects.get(pk=up.pk).runtime_metadata["capabilities"]
    assert stored == {"is ••••••": True, "status_mgmt": True}


def test_a_new_launch_begins_with_a_clean_heartbeat():
    wedged = online()
    AgentCaller(wedged).beat(error_rate=0.9, sample_error="old", runtime_state="wedged", monthly_spend=7)
    restart(workspace_id=wedged.pk, now=database_now())
    beat = Heartbeat.objects.get(pk=wedged.pk)
    assert (beat.error_rate, beat.sample_error, beat.runtime_state) == (0, "", "")
    assert beat.monthly_spend == 7


def test_a_workspace_within_its_limits_keeps_the_status_that_others_gave_it():
    stuck = booting()
    assert later(stuck, minutes=9) < stuck.deadline_at
    answer = AgentCaller(stuck).progress(step="install")
    assert answer.json()["deadline_at"].startswith(stuck.deadline_at.isoformat()[:19])
    stuck.refresh_from_db()
    assert (stuck.status, stuck.progress_step) == (WorkspaceStatus.PROVISIONING, "install")


def external():
    made = create(CreateRequest(name="theirs", external=True), now=database_now())
    return Caller(made.token), made.workspace
