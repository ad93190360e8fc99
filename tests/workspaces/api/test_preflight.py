"""Preflight by the API: every problem with its place, nothing stored, and no value in any answer."""

import pytest
from cryptography.fernet import Fernet

from events.models import Event
from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import external, online, queued
from workspaces.access.secret_sets import create_set
from workspaces.access.secrets import put_secrets, read_environment
from workspaces.configuration import availability, catalog
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
    monkeypatch.setattr(availability, "require_worker", lambda queue: None)
    availability.cache.clear()
    yield
    availability.cache.clear()


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

    monkeypatch.setattr(availability, "require_worker", no_worker)
    monkeypatch.setattr(get_provisioner(settings.PROVISIONER), "running_launches", fail)
    problems = ask(operator, config="runtime: echo")["problems"]
    assert [each["code"] for each in problems] == ["backend_unavailable", "no_worker"]
    assert problems[0]["message"] == f"The backend {settings.PROVISIONER} is not available: its host is down."


def test_the_workers_are_asked_once_for_several_requests(operator, monkeypatch):
    asked = []
    monkeypatch.setattr(availability, "_KEEP_ANSWER_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(availability, "require_worker", asked.append)
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


# --- Each check -----------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(8)
)
CHECKS = {
    "required_env": ("runtime_config: {required_env: [A_KEY]}", ("missing_env", "runtime_config.required_env[0]", 1)),
    "env.required": ("name: x\nenv:\n  required: [A_KEY]", ("missing_env", "env.required[0]", 3)),
    "any_of": ("env:\n  required:\n  - any_of: [B_KEY, C_KEY]", ("missing_env", "env.required[0]", 3)),
    "the list of a picked model": (
        "runtime_config:\n  model: m\n  required_env: [B_KEY]\n  models:\n  - id: m\n    required_env: [A_KEY]",
        ("missing_env", "runtime_config.models[0].required_env[0]", 6),
    ),
    "a port above 65535": ("a2a: {port: 65536}", ("out_of_range", "a2a.port", 1)),
    "port 0": ("a2a: {port: 0}", ("out_of_range", "a2a.port", 1)),
    "bytes": ("a: " + "x" * (256 * 1024), ("too_large", "", None)),
    "depth": ("a: " + "[" * 41 + "]" * 41, ("too_deep", "", 1)),
    "aliases": (BOMB, ("aliases", "", 5)),
    "an alias of itself": ("a: &a [*a]", ("recursive_alias", "", 1)),
    "a misspelt required_env": (
        "runtime_config:\n  requird_env: [A_KEY]",
        ("misplaced_key", "runtime_config.requird_env", 2),
    ),
}


@pytest.mark.parametrize(("text", "expected"), CHECKS.values(), ids=CHECKS)
def test_each_check_is_a_problem_with_its_path_and_line(operator, text, expected):
    [problem] = ask(operator, config=text, secrets={"OTHER_KEY": VALUE})["problems"]
    assert (problem["code"], problem["path"], problem["line"]) == expected
    assert problem["message"].endswith(".")


@pytest.mark.parametrize("names", [["A_KEY", "B_KEY"], ["A_KEY", "C_KEY"], ["A_KEY", "B_KEY", "C_KEY"]])
def test_one_of_any_of_suffices(operator, names):
    assert ask(operator, config=NEEDS, secrets=dict.fromkeys(names, VALUE))["ok"]


SUSPICIOUS = {
    "changeme": "looks like a placeholder",
    "<your-key>": "looks like a placeholder",
    "xxx": "looks like a placeholder",
    "sk-...": "looks like a placeholder",
    f"{VALUE} ": "begins or ends with white space",
    f"\t{VALUE}": "begins or ends with white space",
}


@pytest.mark.parametrize(("value", "why"), SUSPICIOUS.items())
@pytest.mark.parametrize("field", ["secrets", "env_file"])
def test_placeholders_and_white_space_are_suspicious_by_name_and_keep_nothing_from_starting(
    operator, field, value, why
):
    given = {"A_KEY": value} if field == "secrets" else f'# mine\nA_KEY="{value}"\n'
    report = ask(operator, config="runtime: echo", **{field: given})
    [warning] = report["warnings"]
    assert (report["ok"], warning["code"]) == (True, "suspicious_value")
    assert warning["message"] == f"The value of A_KEY {why}."
    place = ("secrets.A_KEY", None) if field == "secrets" else ("env_file.A_KEY", 2)
    assert (warning["path"], warning["line"]) == place


def test_an_unknown_key_is_named_with_the_one_that_was_meant_and_its_line(operator):
    [warning] = ask(operator, config="name: x\nruntime_config:\n  comand: run\n")["warnings"]
    assert places([warning]) == [("unknown_key", "runtime_config.comand", 3, 3)]
    assert warning["hint"] == "Did you mean command?"


# --- An env file ----------------------------------------------------------------------------------


def test_the_variables_of_an_env_file_count_and_those_in_secrets_win(operator):
    env_file = f"export A_KEY='{VALUE}'\nB_KEY=changeme # later\n"
    assert places(ask(operator, config=NEEDS, env_file=env_file)["warnings"]) == [
        ("suspicious_value", "env_file.B_KEY", 2, 1)
    ]
    report = ask(operator, config=NEEDS, env_file=env_file, secrets={"B_KEY": VALUE})
    assert report == {"ok": True, "problems": [], "warnings": []}


def test_what_is_wrong_with_an_env_file_is_named_by_its_lines_and_never_repeated(operator):
    env_file = f"A_KEY={VALUE}\n{VALUE}\nPORT={VALUE}\nB_KEY=\nC_KEY='{VALUE}\n"
    report = ask(operator, config=NEEDS, env_file=env_file)
    assert places(report["problems"]) == [
        ("missing_env", "runtime_config.required_env[1]", 6, 7),
        ("bad_env_file", "env_file", 2, 1),
        ("bad_env_file", "env_file", 3, 1),
        ("bad_env_file", "env_file", 5, 1),
    ]
    assert places(report["warnings"]) == [("not_set", "env_file", None, None)]
    assert report["warnings"][0]["message"] == "Not set, because the env file gives no value: B_KEY."


@pytest.mark.parametrize("env_file", ["A=" + "x" * 300_000, "=" * 1000, "A='" * 1000, "\u2028", "A=\\ud800", "export"])
def test_no_env_file_makes_a_server_error(operator, env_file):
    ask(operator, config="runtime: echo", env_file=env_file)


def test_an_env_file_that_is_refused_has_the_same_problems_at_a_create(operator):
    env_file = f"A_KEY={VALUE}\n{VALUE}\n"
    expected = ask(operator, config=NEEDS, env_file=env_file)["problems"]
    answer = operator.post("/workspaces", {"name": "x", "config": NEEDS, "env_file": env_file})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["env_file"])
    assert [{key: each[key] for key in expected[0]} for each in answer.json()["problems"]] == expected
    assert VALUE not in answer.content.decode()


def test_the_values_of_an_env_file_are_not_logged(operator, caplog):
    caplog.set_level("DEBUG")
    ask(operator, config=NEEDS, env_file=f"A_KEY={VALUE}\n{VALUE}\n")
    assert VALUE not in caplog.text


def test_the_catalog_is_read_again_only_after_it_has_changed(operator, monkeypatch, settings, tmp_path):
    settings.CATALOG_DIRS = [tmp_path]
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "config.yaml"
    file.write_text("runtime: mine\n")
    read, read_template = [], catalog.read_template

    def counted(folder):
        read.append(folder)
        return read_template(folder)

    monkeypatch.setattr(catalog, "read_template", counted)
    for _ in range(3):
        assert ask(operator, config="runtime: mine")["warnings"] == []
    assert len(read) == 1
    file.write_text("runtime: other\n")
    assert [each["code"] for each in ask(operator, config="runtime: mine")["warnings"]] == ["unknown_runtime"]
    assert len(read) == 2


def test_folders_of_the_catalog_that_can_not_be_read_keep_nothing_from_starting(operator, monkeypatch, caplog):
    def refuse():
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(catalog, "list_runtimes", refuse)
    assert ask(operator, config="runtime: mine")["warnings"] == []
    answer = operator.post("/workspaces", {"name": "x", "config": "runtime: mine"})
    assert answer.status_code == 201
    assert "The catalog's folders can't be read" in caplog.text


def test_a_create_that_is_refused_for_its_sets_alone_names_every_problem(operator):
    body = {"config": NEEDS, "secret_sets": ["none-such"]}
    answer = operator.post("/workspaces", {"name": "x", **body})
    assert answer.status_code == 422
    assert list(answer.json()["fields"]) == ["secret_sets"]
    assert [each["code"] for each in answer.json()["problems"]] == ["bad_secret", "missing_env", "missing_env"]
    assert answer.json()["problems"] == ask(operator, **body)["problems"]
