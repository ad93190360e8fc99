"""config.yaml as YAML 1.2 with nothing lost: what a value means, what is refused and where, and in how much time."""

import io
import json
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from agent import shape
from tests.callers import holder
from tests.growth import assert_grows_linearly, at_most
from tests.workspaces.configuration.test_preflight import REAL_CONFIGS
from tests.workspaces.factories import queued
from workspaces.configuration.parser import BadConfig, check_config, inspect_config, parse_config
from workspaces.configuration.preflight import PreflightFailed, preflight
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import ApiScope, Workspace


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ('{no: Norwegian, "False": x, off: y}', {"no": "Norwegian", "False": "x", "off": "y"}),
        ("{on: a, yes: b}", {"on": "a", "yes": "b"}),
        ("{True: a, ~: b, 1: c, 3.10: d}", {"True": "a", "~": "b", "1": "c", "3.10": "d"}),
        ("v: [yes, No, ON, off, y, n]", {"v": ["yes", "No", "ON", "off", "y", "n"]}),
        ("v: [true, False, TRUE, null, ~]", {"v": [True, False, True, None, None]}),
        ("v: [0o17, 0x1F, 0777, -5, +5]", {"v": [15, 31, 777, -5, 5]}),
        ("v: [1:30, 1_000, 0b11, 2026-01-02, =]", {"v": ["1:30", "1_000", "0b11", "2026-01-02", "="]}),
        ("v: [1.5, .5, 1e3, 1., -.5E-1]", {"v": [1.5, 0.5, 1000.0, 1.0, -0.05]}),
        ("v: [.nan, -.inf, 1e999]", {"v": [".nan", "-.inf", "1e999"]}),
        ("v: ['1', \"true\", 'no']", {"v": ["1", "true", "no"]}),
        ("base: &b {x: 1, y: 1}\nv: {<<: *b, y: 2}", {"base": {"x": 1, "y": 1}, "v": {"y": 2, "x": 1}}),
        ("v: {<<: [{x: 1}, {x: 2, y: 2}]}", {"v": {"x": 1, "y": 2}}),
        ("role: a\u2028b", {"role": "a\u2028b"}),
        ("{a\x85b: 'c\x85 d', e: \"f\u2029\"}", {"a\x85b": "c\x85 d", "e": "f\u2029"}),
        ("v: |\n  a\u2028b\n  c\U0010ffff\x85", {"v": "a\u2028b\nc\U0010ffff\x85"}),
    ],
)
def test_plain_values_and_keys_mean_what_yaml_1_2_says(text, config):
    assert parse_config(text) == config


BAD = {
    "an impossible timestamp": ("a: !!timestamp soon", "tag !!timestamp", "line 1, column 4"),
    "an impossible boolean": ("name: x\na: !!bool maybe", "tag !!bool", "line 2, column 4"),
    "an impossible number": ("a: !!int ''", "tag !!int", "line 1, column 4"),
    "a float without digits": ("a: !!float x", "tag !!float", "line 1, column 4"),
    "bytes": ("a: !!binary aGk=", "tag !!binary", "line 1, column 4"),
    "bad bytes": ("a: !!binary '*'", "tag !!binary", "line 1, column 4"),
    "a set": ("a: !!set {b}", "tag !!set", "line 1, column 4"),
    "text by a tag": ("a: !!str 5", "tag !!str", "line 1, column 4"),
    "a mapping of a tag": ("!!omap [a: 1]", "tag !!omap", "line 1, column 1"),
    "a tag on a key": ("!!int '': 1", "tag !!int", "line 1, column 1"),
    "a private tag": ("a: !mine x", "tag !mine", "line 1, column 4"),
    "one number twice as a key": ("{1: a, 0x1: b}", "0x1 is given twice", "line 1, column 8"),
    "a number and its text as keys": ("1: a\n'1': b", "1 is given twice", "line 2, column 1"),
    "one boolean twice as a key": ("v:\n  true: a\n  True: b", "True is given twice", "line 3, column 3"),
    "a list as a key": ("? [a]\n: b", "as a key", "line 1, column 3"),
    "a merge of text": ("a: {<<: x}", "can only merge", "line 1, column 9"),
    "a bell": ("name: x\nrole: a\x07b", "U+0007", "line 2, column 8"),
    "a NUL": ("name: x\r\nrole: \0", "U+0000", "line 2, column 7"),
    "half a surrogate pair": ("name: \ud800", "U+D800", "line 1, column 7"),
    "a huge number": ("a: 1\nb: " + "9" * 5000, "a number of 5000 characters", "line 2, column 4"),
    "a huge number in base 16": ("b: 0x" + "f" * 5000, "a number of 5002 characters", "line 1, column 4"),
    "a chain of nested aliases": (
        "a0: &a0 " + "[" * 38 + "]" * 38 + "".join(f"\na{n}: &a{n} [*a{n - 1}]" for n in range(1, 30)),
        "nested deeper than 40 levels",
        "column",
    ),
    "one long text many times": ("a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 1000 + "]", "characters once", "line 2"),
    "a misspelt required_env": ("runtime_config:\n  requried_env: [A]", "requried_env", "line 2, column 3"),
    "a required_env after no-break spaces": (
        "runtime_config:\n\u00a0\u00a0\u00a0\u00a0required_env:\n    - A",
        "'\\xa0\\xa0\\xa0\\xa0required_env'",
        "line 2, column 1",
    ),
    "a required_env with a zero-width space": ("runtime_config: {re\u200bquired_env: [A]}", "u200b", "column 18"),
    "a required_env in camel case": ("runtime_config: {requiredEnv: [A]}", "requiredEnv", "line 1, column 18"),
    "a required_env one level too high": ("required_env: [A]", "in runtime_config", "line 1, column 1"),
    "a required_env in env": ("env: {required_env: [A]}", "in runtime_config", "line 1, column 7"),
    "a misspelt env.required": ("env:\n  requird: [A]", "Write required, in env", "line 2, column 3"),
    "a misspelt required_env of a model": (
        "runtime_config:\n  models:\n    - id: m\n      required_envs: [A]",
        "runtime_config.models[0].required_envs",
        "line 4, column 7",
    ),
    "a required_env in a misspelt runtime_config": (
        "runtime_confg:\n  required_env: [A]",
        "runtime_confg.required_env",
        "line 2, column 3",
    ),
    "a required_env in Runtime_Config": ("Runtime_Config: {required_env: [A]}", "in runtime_config", "column 18"),
    "a required_env in a key that ends with a space": (
        '"runtime_config ":\n  required_env: [A]',
        "in runtime_config",
        "line 2, column 3",
    ),
    "a required_env in an unknown key": ("agent:\n  a: [{requiredEnv: [A]}]", "a[0].requiredEnv", "line 2, column 8"),
    "a required_env in a second runtime_config": (
        "runtime_config: {runtime_config: {required_env: [A]}}",
        "runtime_config.runtime_config.required_env",
        "line 1, column 35",
    ),
    "a required_env of a skill": ("skills:\n  - required_env: [A]", "skills[0].required_env", "line 2, column 5"),
    "a required_env that only a runtime may read": ("tools: [{a: {required_env: [A]}}]", "in runtime", "column 14"),
    "a required_env in an extension": ("x-notes: {_a: {required_env: [A]}}", "x-notes._a.required_env", "column 16"),
    "a required_env beside any_of": (
        "env: {required: [{any_of: [A], required_env: [B]}]}",
        "nothing reads",
        "column 32",
    ),
    "a required in envs": ("envs:\n  required: [A]", "envs.required: nothing reads", "line 2, column 3"),
    "a required in ENV": ("ENV: {required: [A]}", "Write env.required", "line 1, column 7"),
    "a required in an env of a model": (
        "models: [{id: a, env: {required: [B]}}]",
        "models[0].env.required",
        "column 24",
    ),
    "a required in an env of an unknown key": ("a: {environment: [{requird: [A]}]}", "Write env.required", "column 20"),
    "a required in runtime_config": ("runtime_config: {required: [A]}", "Write required_env", "line 1, column 18"),
    "an env_required": ("runtime_config: {env_required: [A]}", "Write required_env, in", "line 1, column 18"),
    "required_variables": ("runtime_config: {required_variables: [A]}", "Write required_env", "line 1, column 18"),
    "required_secrets of a model": ("models: [{id: a, required_secrets: [A]}]", "in models[0]", "line 1, column 18"),
    "required-env-vars at the top": ("required-env-vars: [A]", "in runtime_config", "line 1, column 1"),
    "required_variables in env": ("env: {required_variables: [A]}", "Write required, in env", "line 1, column 7"),
    "a control character after an old line break": ("name: \u2028\nrole: \x85\x07", "U+0007", "line 2, column 8"),
    "a tag after an old line break": ("name: a\u2028b\x85c\nv: 'd\u2029'\nw: !!int 1", "tag !!int", "line 3, column 4"),
    "a key too many": (
        "".join(f"k{n}: 1\n" for n in range(10_001)),
        "20000 keys and values (",
        "line 10000, column 8)",
    ),
    "a value too many in a list": ("v: [" + "1," * 19_999 + "]", "20000 keys and values (", "line 1, column 39999)"),
    "aliases to too many values": (
        "a: &a [" + "1," * 9000 + "]\nb: [*a, *a, *a]",
        "its aliases are expanded",
        "column",
    ),
    "a wrong type": ("name: x\nruntime_config: {timeout: soon}", "runtime_config.timeout", "line 2, column 18"),
}


@pytest.mark.parametrize(("text", "why", "where"), BAD.values(), ids=BAD)
def test_what_would_be_lost_or_misread_is_refused_with_line_and_column(text, why, where):
    with pytest.raises(BadConfig) as refused:
        parse_config(text)
    assert why in str(refused.value)
    assert where in str(refused.value)


@pytest.mark.parametrize("path", sorted(REAL_CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_real_configs_load_without_a_warning(path):
    assert check_config(path.read_text()).warnings == []


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("runtme: echo", "runtme: neither Slipway nor a known runtime reads this key. Did you mean runtime? (line 1"),
        ("runtime_config:\n  modle: m", "Did you mean model? (line 2, column 3)"),
        ("runtime_config: {boot: [{step: a, run: b, dir: c}]}", "runtime_config.boot[0].dir: neither"),
        ("env: {required: [{any_of: [A], x: 1}]}", "env.required[0].x: neither Slipway nor a known runtime"),
        (
            "runtime_config:\n  required_env:\n    - {any_of: [A], any_off: [B]}",
            "Did you mean any_of? (line 3, column 21",
        ),
        ("models: [{id: a, required: true}]", "models[0].required: neither"),
        ("runtime_config: {required_tools: [a]}", "runtime_config.required_tools: neither"),
        ("a2a:\n  streaming: no", "no is text, as YAML 1.2 says. Write true or false if you mean that, or quote it"),
        ("a2a:\n  streaming: no", "(line 2, column 14)"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning_with_line_and_column(text, warning):
    [found] = check_config(text).warnings
    assert warning in str(found)


@pytest.mark.parametrize(
    "text",
    [
        "x-notes: yes please",
        "tools: [a]",
        "name: 'yes'",
        "runtime_config: {providers: []}",
        "x-notes: {required: [a], env: {required: [A]}}",
        "_notes: {envs: {required: [A]}}",
        "tools: [{env: {required: [a]}, parameters: {required: [a]}}]",
        "env: {required: [{any_of: [A], x-why: either}]}",
    ],
)
def test_extensions_and_keys_of_known_runtimes_are_no_warning(text):
    assert check_config(text).warnings == []


def test_many_warnings_are_cut():
    assert len(check_config("".join(f"unknown{number}: 1\n" for number in range(5000))).warnings) == 10


def test_every_problem_is_found_at_once_in_the_order_of_the_lines():
    text = "name: 5\ntier: !!int 2\nname: again\n? [a]\n: b\na: {<<: x}\nb: " + "9" * 2000 + "\na2a: {port: 0}\n"
    with pytest.raises(BadConfig) as refused:
        check_config(text)
    found = [(each.line, each.column, each.code, each.path) for each in refused.value.problems]
    assert found == [
        (1, 1, "wrong_type", "name"),
        (2, 7, "tag", ""),
        (3, 1, "duplicate_key", "name"),
        (4, 3, "bad_key", ""),
        (6, 9, "bad_merge", ""),
        (7, 4, "long_number", ""),
        (8, 7, "out_of_range", "a2a.port"),
    ]


def test_a_tag_is_named_beside_what_ends_the_reading():
    with pytest.raises(BadConfig) as refused:
        check_config("a: !!int 1\nb: [")
    assert [each.code for each in refused.value.problems] == ["tag", "bad_yaml"]


def test_many_problems_are_cut_and_counted():
    with pytest.raises(BadConfig) as refused:
        check_config("prompt_files: [" + "1," * 5000 + "]")
    assert len(refused.value.problems) == 100
    assert refused.value.problems[-1].message == "And 4901 more."
    assert [each.path for each in refused.value.problems[:99]] == [f"prompt_files[{number}]" for number in range(99)]
    assert [each.column for each in refused.value.problems[:99]] == [16 + 2 * number for number in range(99)]


# --- Time ----------------------------------------------------------------------------------------

GROWING = {
    "base 60": lambda size: "a: 1" + ":1" * (size // 2),
    "digits": lambda size: "a: " + "9" * size,
    "digits and a letter": lambda size: "a: " + "9" * size + "x",
    "a list": lambda size: "a: [" + "1," * (size // 2) + "]",
    "keys": lambda size: "".join(f"k{number}: 1\n" for number in range(size // 12)),
    "nearly required_env": lambda size: "".join(f"requiredenv{number}: 1\n" for number in range(size // 20)),
    "models": lambda size: "runtime_config: {models: [" + "{ix: a}," * (size // 12) + "]}",
    "required_env beneath a long key": lambda size: (
        "? " + "k" * (size // 2) + "\n: [" + "{required_env: a}," * (size // 36) + "]"
    ),
    "required_env at the end of a long key": lambda size: (
        "? " + "k" * (size // 2) + "\n: [" + "1," * (size // 14) + "{required_env: a}]"
    ),
    "old line breaks": lambda size: "a: " + "\u2028" * (size // 3),
    "brackets": lambda size: "a: " + "[" * size,
    "nested mappings": lambda size: "a: " + "{a: " * (size // 4),
    "anchors": lambda size: "".join(f"a{number}: &a{number} x\n" for number in range(size // 18)),
    "merges": lambda size: "a: &a {k: 1}\n" + "".join(f"b{n}: {{<<: *a, <<: *a}}\n" for n in range(size // 24)),
    "a key of many children": lambda size: "? " + "k" * (size // 2) + "\n: [" + "1," * (size // 14) + "]",
    "spaces": lambda size: "a: x" + " " * size + "y",
    "line breaks": lambda size: 'a: "' + "\n" * size + '"',
    "comments": lambda size: "#\n" * (size // 2) + "a: 1",
}


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_the_time_grows_with_the_text_and_not_faster(make):
    def check(text):
        with suppress(BadConfig):
            check_config(text)

    took = assert_grows_linearly(check, make, size=60_000)
    assert took < at_most(2)


def test_the_keys_of_a_config_are_gone_through_once_for_its_problems_and_its_warnings(monkeypatch):
    checked, check = [], shape._top
    monkeypatch.setattr(shape, "_top", lambda path, config: checked.append(config) or check(path, config))
    [warning] = check_config("naem: x\n").warnings
    assert "naem: neither Slipway nor a known runtime reads this key" in str(warning)
    assert checked == [{"naem": "x"}]


# --- Ways in -------------------------------------------------------------------------------------

REFUSED = [
    "a: !!timestamp soon",
    "a: !!bool maybe",
    "a: !!int ''",
    "runtime_config: {requried_env: [A]}",
    "runtime_confg: {required_env: [A]}",
    "models: [{id: a, env: {required: [B]}}]",
]


@pytest.mark.django_db
@pytest.mark.parametrize("text", REFUSED)
def test_the_api_answers_422_with_the_place(text):
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "w", "config": text})
    assert answer.status_code == 422
    assert "line 1, column" in answer.json()["fields"]["config"]
    assert not Workspace.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("text", REFUSED)
def test_the_admins_form_shows_the_place_at_its_field(client, text):
    client.force_login(User.objects.create_superuser("operator"))
    answer = client.post("/admin/workspaces/workspace/add/", {"config": text})
    assert "line 1, column" in answer.context["form"].errors["config"][0]
    assert not Workspace.objects.exists()


MANY = "name: 5\ntier: x\na2a: {port: 0}\nprompt_files: [1, 2, 3, 4]\n"


@pytest.mark.django_db
def test_the_api_answers_with_every_problem_of_a_config_and_its_place():
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "w", "config": MANY}).json()
    assert [(each["path"], each["line"]) for each in answer["problems"]][:3] == [
        ("name", 1),
        ("tier", 2),
        ("a2a.port", 3),
    ]
    assert len(answer["problems"]) == 7
    assert "problems" not in holder(ApiScope.OPERATE).post("/workspaces", {"name": "w"}).json()


@pytest.mark.django_db
def test_the_admins_form_shows_each_problem_in_a_line_of_its_own(client):
    client.force_login(User.objects.create_superuser("operator"))
    errors = client.post("/admin/workspaces/workspace/add/", {"config": MANY}).context["form"].errors["config"]
    assert len(errors) == 7
    assert errors[2] == "a2a.port: must be a whole number from 1 to 65535, not 0 (line 3, column 7)."


@pytest.mark.django_db
@pytest.mark.parametrize("text", REFUSED)
def test_the_command_names_the_place(tmp_path, text, monkeypatch):
    monkeypatch.setattr("workspaces.management.commands.launch.require_worker", lambda queue: None)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(CommandError, match="line 1, column"):
        call_command("launch", "--config", str(path), stdout=io.StringIO())
    assert not Workspace.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("text", REFUSED)
def test_a_stored_one_fails_its_launch_as_bad_config(text):
    workspace = queued()
    workspace.config = text
    with pytest.raises(PreflightFailed, match="line 1, column") as refused:
        preflight(workspace)
    assert refused.value.code == FailureCode.BAD_CONFIG


SUSPECT = "name: w\nrutime: echo\na2a: {streaming: no}\n"
WARNINGS = ["no is text, as YAML 1.2 says", "Did you mean runtime? (line 2, column 1)."]


@pytest.mark.django_db
def test_the_api_answers_with_the_warnings():
    warnings = holder(ApiScope.OPERATE).post("/workspaces", {"name": "w", "config": SUSPECT}).json()["warnings"]
    assert len(warnings) == 2
    assert [(each["code"], each["line"]) for each in warnings] == [("unknown_key", 2), ("not_a_boolean", 3)]
    assert "warnings" not in holder(ApiScope.OPERATE).post("/workspaces", {"name": "w", "template": "echo"}).json()


@pytest.mark.django_db
def test_the_admin_shows_the_warnings_after_the_form_and_on_the_page_of_the_workspace(client):
    client.force_login(User.objects.create_superuser("operator"))
    answer = client.post("/admin/workspaces/workspace/add/", {"config": SUSPECT}, follow=True)
    shown = " ".join(message.message for message in answer.context["messages"])
    assert all(expected in shown for expected in WARNINGS)
    page = client.get(answer.redirect_chain[-1][0]).content.decode()
    assert all(expected in page for expected in WARNINGS)


@pytest.mark.django_db
def test_the_page_of_a_workspace_says_that_its_configuration_is_bad_now(client):
    client.force_login(User.objects.create_superuser("operator"))
    workspace = queued()
    Workspace.objects.filter(pk=workspace.pk).update(config="a: !!timestamp soon")
    page = client.get(f"/admin/workspaces/workspace/{workspace.pk}/change/").content.decode()
    assert "tag !!timestamp" in page


@pytest.mark.django_db
def test_the_command_prints_the_warnings(tmp_path, monkeypatch):
    monkeypatch.setattr("workspaces.management.commands.launch.require_worker", lambda queue: None)
    path = tmp_path / "config.yaml"
    path.write_text(SUSPECT)
    errors = io.StringIO()
    call_command("launch", "--config", str(path), stdout=io.StringIO(), stderr=errors)
    assert errors.getvalue().count("Warning: ") == 2
    assert all(expected in errors.getvalue() for expected in WARNINGS)


@pytest.mark.django_db
def test_every_wrong_field_is_named_beside_a_bad_config():
    body = {"name": "a\u0007b", "config": "a: !!int ''", "role": "\u0007"}
    fields = holder(ApiScope.OPERATE).post("/workspaces", body).json()["fields"]
    assert {"name", "config", "role"} <= set(fields)


def test_the_name_of_an_alias_that_is_as_long_as_the_file_is_cut():
    [problem] = inspect_config(f"a: *{'b' * 200_000}\n").problems
    assert (problem.code, problem.line, problem.column) == ("bad_yaml", 1, 4)
    assert problem.message.startswith("config.yaml is not valid YAML: found undefined alias 'bbb")
    assert len(problem.message) < 400


def test_what_the_parser_returns_can_be_written_as_json():
    text = "a: 0x" + "f" * 900 + "\nb: [.nan, .inf, 1e400, 2026-01-02, ~]\n? ~\n: x"
    assert json.loads(json.dumps(parse_config(text), allow_nan=False))["b"][4] is None
