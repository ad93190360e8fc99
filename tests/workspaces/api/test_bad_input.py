"""Bad input to the API: the error names the field, and nothing changes."""

import json
import uuid

import pytest

from events.models import Event
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, config_for, failed
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import MAX_TIMEOUT_SECONDS, ApiScope, Secret, Workspace
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.stopping.remove import remove

pytestmark = pytest.mark.django_db

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
NESTED = "a: " + "[" * 2000 + "]" * 2000


@pytest.fixture
def operator():
    return holder(ApiScope.OPERATE)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": None}),
        ("name", {"name": ""}),
        ("name", {"name": "   "}),
        ("name", {"name": "x" * 101}),
        ("name", {"name": 5}),
        ("name", {"name": ["x"]}),
        ("name", {"name": "a\0b"}),
        ("name", {"name": "a\ud800b"}),
        ("name", {"name": "a\x1b[2Jb"}),
        ("name", {"name": "two\nlines"}),
        ("role", {"role": "x" * 201}),
        ("role", {"role": "bell\a"}),
        ("role", {"role": {}}),
        ("tier", {"tier": 0}),
        ("tier", {"tier": 11}),
        ("tier", {"tier": "2"}),
        ("tier", {"tier": True}),
        ("model", {"model": "x" * 201}),
        ("runtime", {"runtime": "x" * 64}),
        ("external", {"external": "yes"}),
        ("url", {"url": "http://localhost:1"}),
        ("url", {"config": None, "external": True, "url": "http://127.0.0.1/"}),
        ("url", {"config": None, "external": True, "url": "file:///etc/passwd"}),
        ("parent_id", {"parent_id": "nonsense"}),
        ("parent_id", {"parent_id": str(uuid.uuid4())}),
        ("budget_limit", {"budget_limit": -1}),
        ("budget_limit", {"budget_limit": 10**12 + 1}),
        ("budget_limit", {"budget_limit": 1.5}),
        ("hibernation_idle_minutes", {"hibernation_idle_minutes": -1}),
        ("hibernation_idle_minutes", {"hibernation_idle_minutes": 2**31}),
        ("provision_timeout_seconds", {"provision_timeout_seconds": 0}),
        ("provision_timeout_seconds", {"provision_timeout_seconds": 10**9}),
        ("provision_timeout_seconds", {"provision_timeout_seconds": "60"}),
        ("secrets", {"secrets": ["A=b"]}),
        ("secrets.A", {"secrets": {"A": 5}}),
        ("secrets", {"secrets": {"not a name": "value"}}),
        ("secrets", {"secrets": {"WORKSPACE_TOKEN": "value"}}),
        ("secrets", {"secrets": {"EMPTY": " "}}),
        ("secrets", {"secrets": {"LONG": "x" * 65_537}}),
        ("secrets.NUL", {"secrets": {"NUL": "a\0b"}}),
        ("labels", {"labels": "x"}),
        ("labels.team", {"labels": {"team": 5}}),
        ("labels", {"labels": {"a\0b": "x"}}),
        ("runtime", {"runtime": 5}),
        ("template", {"template": "no-such-template", "config": None}),
        ("template", {"template": "../../etc", "config": None}),
        ("template", {"config": None}),
        ("config", {"template": "echo"}),
        ("config", {"config": 5}),
        ("config", {"config": "name: [unclosed"}),
        ("config", {"config": "- a\n- list"}),
        ("config", {"config": "runtime: 5"}),
        ("config", {"config": BOMB}),
        ("config", {"config": NESTED}),
        ("config", {"config": "a: &a [*a]"}),
        ("config", {"config": "x" * (256 * 1024 + 1)}),
        ("config", {"config": "name: \x01"}),
        ("config", {"config": "!!python/object/apply:os.system ['true']"}),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_created(operator, field, fields):
    body = {"name": "w", "config": config_for("echo")} | fields
    answer = operator.post("/workspaces", json.dumps({key: value for key, value in body.items() if value is not None}))
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert any(name == field or field.startswith(name) for name in answer.json()["fields"])
    assert not Workspace.objects.exists()
    assert not Secret.objects.exists()
    assert not Event.objects.exists()


def test_every_wrong_field_is_named_at_once(operator):
    answer = operator.post("/workspaces", {"name": "", "tier": "x", "secrets": 5})
    assert set(answer.json()["fields"]) == {"name", "tier", "secrets"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"name": "a", "template": "echo", "name": "b"}', ["name"]),
        ('{"name": "a", "template": "echo", "labels": {"team": "a", "area": "x", "team": "a"}}', ["labels.team"]),
        ('{"name": "a", "template": "echo", "secrets": {"A": "sk-very", "A": "secret"}}', ["secrets.A"]),
    ],
)
def test_a_field_that_is_given_twice_is_named_and_nothing_is_created(operator, body, fields):
    answer = operator.post("/workspaces", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert list(answer.json()["fields"]) == fields
    assert b"very" not in answer.content
    assert not Workspace.objects.exists()


def test_the_report_of_an_agent_that_gives_a_field_twice_counts():
    workspace = booting()
    body = f'{{"workspace_id": "{workspace.pk}", "step": "one", "step": "two"}}'
    assert AgentCaller(workspace).post("/registry/progress", body).status_code == 200
    workspace.refresh_from_db()
    assert workspace.progress_step == "two"


def test_the_line_of_a_bad_config_is_named(operator):
    answer = operator.post("/workspaces", {"name": "w", "config": "name: w\nruntime: echo\ntier: [1\n"})
    assert "line" in answer.json()["fields"]["config"]


def test_no_response_contains_the_value_of_a_secret(operator):
    for secrets in ({"bad name": "sk-very-secret"}, {"A": "sk-very-secret\0"}, {"A": ["sk-very-secret"]}):
        answer = operator.post("/workspaces", {"name": "w", "config": config_for("echo"), "secrets": secrets})
        assert answer.status_code == 422
        assert b"sk-very" not in answer.content


def test_nothing_is_created_below_a_removed_parent(operator):
    gone = booting()
    remove(workspace_id=gone.pk, confirmed=False, now=gone.created_at)
    body = {"name": "w", "config": config_for("echo"), "parent_id": str(gone.pk)}
    answer = operator.post("/workspaces", body)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["parent_id"])
    assert Workspace.objects.exclude(status=WorkspaceStatus.REMOVED).count() == 0


# --- The body itself, at every call that takes one ------------------------------------------------

BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"not json", 400),
    (b"\xff\xfe{}", 400),
    (b'"text"', 422),
    (b"5", 422),
    (b"null", 422),
    (b"[]", 422),
]
# Reports of agents and watchers are mended instead: tests/registry/test_mended_reports.py.
OPERATORS_BODIES = [
    (b'{"name": NaN}', 400),
    (b'{"name": Infinity}', 400),
    (b'{"name": "\xed\xa0\x80"}', 400),
    (b'{"a":' * 70 + b"1" + b"}" * 70, 400),
    (b"[" * 200_000 + b"]" * 200_000, 400),
    (b'{"a": ' + b"1" * 5000 + b"}", 422),
    (b'{"a": 1e999}', 422),
    (b'{"a": "\\u0000"}', 422),
    (b'{"\\u0000": "a"}', 422),
    (b'{"a": ["\\ud800"]}', 422),
    (b'{"a": "' + b"x" * 1_048_576 + b'"}', 413),
    (b'{"a": "' + b"x" * 5_000_000 + b'"}', 413),
]
TOO_LONG_ANYWHERE = b'{"a": "' + b"x" * (8 * 1_048_576) + b'"}'
TAKERS = [
    "/workspaces",
    "/registry/register",
    "/registry/heartbeat",
    "/registry/progress",
    "/registry/failed",
    "/admin/workspaces/{id}/bootstrap-failed",
]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [(path, *case) for path in TAKERS for case in [*BODIES, (TOO_LONG_ANYWHERE, 413)]]
    + [("/workspaces", *case) for case in OPERATORS_BODIES],
    ids=lambda part: repr(part)[:30],
)
def test_an_unusable_body_is_refused_and_changes_nothing(path, body, status):
    target = booting()
    answer = _entitled(path, target).post(path.format(id=target.pk), body)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert answer["Content-Type"].startswith("application/json")
    assert Workspace.objects.get().version == target.version


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/json"])
def test_json_is_read_with_any_content_type(content_type):
    target = booting()
    body = json.dumps({"workspace_id": str(target.pk)})
    answer = _entitled("/registry/heartbeat", target).post("/registry/heartbeat", body, content_type=content_type)
    assert answer.status_code == 200


def test_a_form_is_not_json():
    target = booting()
    caller = _entitled("/registry/heartbeat", target)
    answer = caller.client.post("/registry/heartbeat", {"workspace_id": str(target.pk)}, headers=caller.headers)
    assert (answer.status_code, "error" in answer.json()) == (400, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/workspaces?status=nonsense", 422),
        ("/workspaces?include_removed=perhaps", 422),
        ("/workspaces?status=%00", 422),
        ("/workspaces?runtime=%00", 422),
        ("/workspaces?template=a%00b", 422),
        ("/workspaces?label=a%00", 422),
        ("/workspaces?label=a%3D%00", 422),
        ("/events?after=-1", 422),
        ("/events?after=99999999999999999999", 422),
        ("/events?limit=0", 422),
        ("/events?limit=abc", 422),
        ("/workspaces/%00", 404),
        ("/workspaces/%ff", 404),
        ("/workspaces/" + "x" * 3000, 404),
        ("/workspaces/{id}/nonsense", 404),
        ("/nonsense", 404),
    ],
)
def test_a_bad_address_gets_an_error_message(path, status):
    answer = holder(ApiScope.READ).get(path.replace("{id}", str(failed().pk)))
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_wrong_method_gets_an_error_message_and_the_allowed_methods():
    caller = holder(ApiScope.OPERATE)
    answer = caller.client.put("/workspaces", headers=caller.headers)
    assert (answer.status_code, set(answer["Allow"].split(", "))) == (405, {"GET", "POST"})
    assert answer.json()["error"]
    assert answer["Content-Length"] == str(len(answer.content))


def test_a_bad_confirm_removes_nothing():
    target = booting()
    assert holder(ApiScope.OPERATE).delete(f"/workspaces/{target.pk}?confirm=maybe").status_code == 422
    assert Workspace.objects.get().status == WorkspaceStatus.PROVISIONING


def test_an_unexpected_error_is_answered_without_details(monkeypatch):
    def explode(**_):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("workspaces.services.launching.restart.restart", explode)
    answer = holder(ApiScope.OPERATE).post(f"/workspaces/{booting().pk}/restart")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert b"hunter2" not in answer.content


def _entitled(path, target):
    return AgentCaller(target) if path.startswith("/registry") else holder(ApiScope.OPERATE)


@pytest.mark.parametrize("seconds", [-5, 0, MAX_TIMEOUT_SECONDS + 1, 10**11])
def test_the_service_refuses_a_boot_limit_out_of_range(seconds):
    with pytest.raises(InvalidWorkspace) as refused:
        create(CreateRequest(template="echo", provision_timeout_seconds=seconds), now=database_now())
    assert str(MAX_TIMEOUT_SECONDS) in refused.value.fields["provision_timeout_seconds"]
    assert not Workspace.objects.exists()
