"""Preflight by the API: every problem with its place, nothing stored, and no value in any answer."""

import pytest
from cryptography.fernet import Fernet

from events.models import Event
from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import external, online, queued
from workspaces.access.secret_sets import create_set
from workspaces.access.secrets import put_secrets, read_environment
from workspaces.configuration import reports
from workspaces.configuration.variables import read_variables
from workspaces.models import ApiScope, Secret, Workspace
from workspaces.operations import remove
from workspaces.provisioners.base import ProvisionerError
from workspaces.provisioners.registry import get_provisioner
from workspaces.workers import NoWorker

pytestmark = pytest.mark.django_db

VALUE = "hunter2-hunter2"
NEEDS = """name: needs
runtime: echo
runtime_config:
  required_env:
    - A_KEY
    - any_of: [B_KEY, C_KEY]
"""


@pytest.fixture(autouse=True)
def worker(monkeypatch):
    monkeypatch.setattr(reports, "require_worker", lambda queue: None)
    reports.cache.clear()
    yield
    reports.cache.clear()


@pytest.fixture
def operator():
    return holder(ApiScope.OPERATE)


def ask(operator, **body):
    answer = operator.post("/workspaces/preflight", body)
    assert answer.status_code == 200, answer.content
    assert VALUE not in answer.content.decode()
    assert not Workspace.objects.exists()
    report = answer.json()
    assert set(report) == {"ok", "problems", "warnings"}
    assert report["ok"] is (report["problems"] == [])
    for each in [*report["problems"], *report["warnings"]]:
        assert set(each) == {"code", "path", "line", "column", "message", "hint"}
    return report


def places(findings):
    return [(each["code"], each["path"], each["line"], each["column"]) for each in findings]


def test_a_config_that_can_be_launched_is_ok(operator):
    report = ask(operator, config=NEEDS, secrets={"A_KEY": VALUE, "C_KEY": VALUE})
    assert report == {"ok": True, "problems": [], "warnings": []}
    assert not Secret.objects.exists()
    assert not Event.objects.exists()


def test_a_template_can_be_asked_about_by_its_name(operator):
    report = ask(operator, template="hermes")
    assert [(each["code"], each["path"]) for each in report["problems"]] == [
        ("missing_env", "runtime_config.required_env[0]")
    ]
    assert "HERMES_API_KEY" in report["problems"][0]["message"]
    assert ask(operator, template="hermes", secrets={"HERMES_API_KEY": VALUE})["ok"]


def test_every_problem_is_named_at_once_with_its_place(operator):
    config = NEEDS.replace("needs", "5").replace("echo", "ecko") + "a2a:\n  port: 70000\nmodle: x\n"
    report = ask(operator, config=config, secrets={"A_KEY": "  ", "PORT": VALUE, "D_KEY": "sk-..."})
    assert places(report["problems"]) == [
        ("bad_secret", "secrets.A_KEY", None, None),
        ("bad_secret", "secrets.PORT", None, None),
        ("wrong_type", "name", 1, 1),
        ("missing_env", "runtime_config.required_env[0]", 5, 7),
        ("missing_env", "runtime_config.required_env[1]", 6, 7),
        ("out_of_range", "a2a.port", 8, 3),
    ]
    assert places(report["warnings"]) == [
        ("suspicious_value", "secrets.D_KEY", None, None),
        ("unknown_runtime", "runtime", 2, 1),
        ("unknown_key", "modle", 9, 1),
    ]
    hints = [each["hint"] for each in report["warnings"]]
    assert hints[1:] == ["Did you mean echo?", "Did you mean model?"]


def test_a_picked_model_brings_its_own_requirements(operator):
    config = NEEDS + "  models:\n    - id: hub/*\n      required_env: [HUB_KEY]\n"
    [problem] = ask(operator, config=config, model="hub/x")["problems"]
    assert (problem["path"], problem["line"]) == ("runtime_config.models[0].required_env[0]", 9)
    assert 'The entry "hub/*"' in problem["hint"]


def test_global_secrets_count(operator):
    put_secrets({"A_KEY": VALUE, "B_KEY": VALUE}, workspace_id=None)
    assert ask(operator, config=NEEDS)["ok"]


@pytest.mark.parametrize("runtime", ["mine", "ech0"])
def test_a_runtime_that_nobody_knows_is_a_warning_unless_the_config_runs_it(operator, runtime):
    assert [each["code"] for each in ask(operator, config="name: x", runtime=runtime)["warnings"]] == [
        "unknown_runtime"
    ]
    own = ask(operator, config="runtime_config: {command: run}", runtime=runtime)["warnings"]
    assert [each["code"] for each in own] == ([] if runtime == "mine" else ["unknown_runtime"])


def test_an_unknown_template_and_bad_yaml_are_problems(operator):
    [problem] = ask(operator, template="nope")["problems"]
    assert (problem["code"], problem["path"]) == ("unknown_template", "template")
    assert places(ask(operator, config="name: [x\n")["problems"]) == [("bad_yaml", "", 2, 1)]
    assert places(ask(operator, config="")["problems"]) == [("not_a_mapping", "", 1, 1)]


def test_no_worker_and_a_backend_that_fails_are_problems(operator, monkeypatch, settings):
    def fail():
        raise ProvisionerError("its host is down.")

    def no_worker(queue):
        raise NoWorker(f"No {queue} worker is alive.")

    monkeypatch.setattr(reports, "require_worker", no_worker)
    monkeypatch.setattr(get_provisioner(settings.PROVISIONER), "running_launches", fail)
    problems = ask(operator, config="runtime: echo")["problems"]
    assert [each["code"] for each in problems] == ["backend_unavailable", "no_worker"]
    assert problems[0]["message"] == f"The backend {settings.PROVISIONER} is not available: its host is down."


def test_the_workers_are_asked_once_for_several_requests(operator, monkeypatch):
    asked = []
    monkeypatch.setattr(reports, "_KEEP_ANSWER_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(reports, "require_worker", asked.append)
    for _ in range(3):
        ask(operator, config="runtime: echo")
    assert asked == ["launch"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"config": "a: 1", "template": "echo"}, "body"),
        ({"config": 5}, "config"),
        ({"config": "a: 1", "secrets": {"A": 1}}, "secrets.A"),
        ({"config": "a: 1", "secrets": [VALUE]}, "secrets"),
        ({"config": "a: 1", "modle": "x"}, "modle"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused_by_field(operator, body, field):
    answer = operator.post("/workspaces/preflight", body)
    assert answer.status_code == 422
    assert list(answer.json()["fields"]) == [field]
    assert VALUE not in answer.content.decode()


# --- Of a workspace -------------------------------------------------------------------------------


def report_of(operator, workspace):
    answer = operator.get(f"/workspaces/{workspace.pk}/preflight")
    assert answer.status_code == 200, answer.content
    assert VALUE not in answer.content.decode()
    return answer.json()


def test_each_variable_of_a_workspace_says_whether_it_is_set_and_from_where_and_never_its_value(operator):
    workspace = queued(config=NEEDS + "env: {required: [PORT, D_KEY]}\n", secrets={"A_KEY": VALUE, "EXTRA": VALUE})
    put_secrets({"A_KEY": VALUE, "C_KEY": VALUE}, workspace_id=None)
    report = report_of(operator, workspace)
    assert report["ok"] is False
    assert [each["path"] for each in report["problems"]] == ["env.required[1]"]
    rows = [(each["name"], each["required"], each["set"], each["source"]) for each in report["variables"]]
    assert rows == [
        ("A_KEY", True, True, "workspace"),
        ("B_KEY", True, False, None),
        ("C_KEY", True, True, "global"),
        ("PORT", True, True, "slipway"),
        ("D_KEY", True, False, None),
        ("EXTRA", False, True, "workspace"),
    ]
    assert report["variables"][1]["any_of"] == ["B_KEY", "C_KEY"]
    assert report["variables"][1]["required_by"] == "runtime_config.required_env[1]"
    assert report["variables"][5]["required_by"] is None


def test_sets_of_secrets_count_in_their_order_and_are_named(operator):
    for name in ("one", "two"):
        create_set(name)
    put_secrets({"A_KEY": VALUE, "B_KEY": VALUE}, workspace_id=None)
    put_secrets({"A_KEY": f"{VALUE}-1", "C_KEY": VALUE}, workspace_id=None, secret_set="one")
    put_secrets({"A_KEY": f"{VALUE}-2"}, workspace_id=None, secret_set="two")
    workspace = queued(config=NEEDS, secrets={"C_KEY": f"{VALUE}-own"}, secret_sets=["one", "two"])
    found = read_variables(workspace_id=workspace.pk, secret_sets=workspace.secret_sets)
    assert {name: each.value for name, each in found.items()} == read_environment(workspace.pk)
    rows = [(each["name"], each["source"], each["secret_set"]) for each in report_of(operator, workspace)["variables"]]
    assert rows == [("A_KEY", "set", "two"), ("B_KEY", "global", None), ("C_KEY", "workspace", None)]


def test_a_request_may_name_sets_and_unknown_ones_are_a_problem(operator):
    create_set("one")
    put_secrets({"A_KEY": VALUE, "B_KEY": VALUE}, workspace_id=None, secret_set="one")
    assert ask(operator, config=NEEDS, secret_sets=["one"])["ok"]
    problems = ask(operator, config="name: x", secret_sets=["two"])["problems"]
    assert places(problems) == [("bad_secret", "secret_sets", None, None)]


def test_a_workspaces_report_names_unreadable_secrets_and_a_template_that_is_gone(operator, settings):
    workspace = queued(config=NEEDS, secrets={"A_KEY": VALUE, "B_KEY": VALUE})
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    problems = report_of(operator, workspace)["problems"]
    assert places(problems) == [
        ("secret_unreadable", "secrets.A_KEY", None, None),
        ("secret_unreadable", "secrets.B_KEY", None, None),
    ]
    Workspace.objects.filter(pk=workspace.pk).update(config="", template="gone")
    assert "unknown_template" in [each["code"] for each in report_of(operator, workspace)["problems"]]


def test_an_external_workspace_is_never_launched_and_a_removed_one_is_gone(operator):
    assert report_of(operator, external()) == {"ok": True, "problems": [], "warnings": [], "variables": []}
    workspace = online()
    remove(workspace.pk)
    assert operator.get(f"/workspaces/{workspace.pk}/preflight").status_code == 410
