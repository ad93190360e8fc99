"""Every key that Slipway reads: the values it takes, and the problem it names for the others."""

from pathlib import Path

import pytest
import yaml

from agent import shape
from agent.shape import check_shape, is_within_edits
from tests.growth import assert_grows_linearly

CATALOG = sorted((Path(__file__).parent.parent.parent / "catalog").glob("*/config.yaml"))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"runtime_config": None, "env": None, "a2a": None, "skills": None, "name": None},
        {"version": 1.0},
        {"tier": 10, "name": "long " * 60, "runtime": "x" * 63},
        {"version": "1.0.0"},
        {"tier": 2, "skills": [], "prompt_files": ["SOUL.md"], "unknown": {"anything": [1]}},
        {"runtime_config": {"timeout": 0, "command": ["run"], "args": []}},
        {"runtime_config": {"command": "run it", "provision_timeout_seconds": 1, "stall_timeout_seconds": 60}},
        {"runtime_config": {"required_env": ["_A", {"any_of": ["B", "C"]}], "models": [{"id": "m"}]}},
        {"runtime_config": {"boot": [{"step": "install", "run": "true"}]}, "a2a": {"port": 65535}},
    ],
)
def test_a_good_config_has_no_problems(config):
    assert check_shape(config).problems == []


@pytest.mark.parametrize(
    ("config", "key", "message"),
    [
        ([], "", "not a list"),
        (None, "", "not nothing"),
        ("text", "", "not text"),
        ({"name": 5}, "name", "must be text, not a number"),
        ({"name": "a\0b"}, "name", "NUL"),
        ({"role": "\ud800"}, "role", "surrogate"),
        ({"runtime": ["x"]}, "runtime", "must be text, not a list"),
        ({"name": "a\u202eb"}, "name", "control character U+202E"),
        ({"name": "\u200b"}, "name", "shows nothing"),
        ({"runtime": "a\nb"}, "runtime", "control character U+000A"),
        # Each of these characters becomes two as a name is cleaned.
        ({"runtime": "\u0958" * 63}, "runtime", "at most 63 characters, not 126"),
        ({"version": True}, "version", "must be text, not true or false"),
        ({"tier": "2"}, "tier", "must be a whole number, not text"),
        ({"tier": 0}, "tier", "must be a whole number from 1 to 10, not 0"),
        ({"tier": 99}, "tier", "must be a whole number from 1 to 10, not 99"),
        ({"tier": -5}, "tier", "must be a whole number from 1 to 10, not -5"),
        ({"tier": True}, "tier", "must be a whole number, not true or false"),
        ({"runtime_config": []}, "runtime_config", "must hold keys and values, not a list"),
        ({"env": {"required": "A"}}, "env.required", "must be a list, not text"),
        ({"env": {"required": ["A", "2B"]}}, "env.required[1]", "'2B' is not a name"),
        ({"env": {"required": ["A\n"]}}, "env.required[0]", "is not a name"),
        ({"env": {"required": ["ÄRGER"]}}, "env.required[0]", "is not a name"),
        ({"env": {"required": [None]}}, "env.required[0]", "not nothing"),
        ({"env": {"required": [{"any_of": []}]}}, "env.required[0]", "at least one name"),
        ({"env": {"required": [{"anyof": ["A"]}]}}, "env.required[0]", "at least one name"),
        ({"env": {"required": [{"any_of": ["A", ""]}]}}, "env.required[0].any_of[1]", "is not a name"),
        ({"agent": {"required_env": ["A"]}}, "agent.required_env", "Write required_env, in runtime_config"),
        ({"skills": [{"required_env": ["A"]}]}, "skills[0].required_env", "nothing reads this key"),
        ({"env": {"optional": [{"required_env": ["A"]}]}}, "env.optional[0].required_env", "nothing reads this key"),
        ({"Env": {"required": ["A"]}}, "Env.required", "Write env.required"),
        ({"a2a": {"port": 0}}, "a2a.port", "from 1 to 65535, not 0"),
        ({"a2a": {"port": 65536}}, "a2a.port", "from 1 to 65535"),
        ({"a2a": {"port": 10**5000}}, "a2a.port", "a huge number"),
        ({"a2a": {"port": "80"}}, "a2a.port", "must be a whole number"),
        ({"prompt_files": [1]}, "prompt_files[0]", "must be text"),
        ({"skills": "x"}, "skills", "must be a list"),
        ({"models": {"m": {}}}, "models", "must be a list"),
        ({"models": [{"required_env": []}]}, "models[0].id", "is missing"),
        ({"models": [{"id": "m", "required_env": ["1"]}]}, "models[0].required_env[0]", "is not a name"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(config, key, message):
    [problem] = check_shape(config).problems
    assert problem.key == key
    assert message in str(problem)


@pytest.mark.parametrize(
    ("runtime_config", "key", "message"),
    [
        ({"model": 1}, "model", "must be text"),
        ({"models": {}}, "models", "must be a list"),
        ({"models": [{"required_env": []}]}, "models[0].id", "is missing"),
        ({"models": ["m"]}, "models[0]", "must hold keys and values"),
        ({"models": [{"id": "m", "required_env": [1]}]}, "models[0].required_env[0]", "not a number"),
        ({"boot": [{"step": "a"}]}, "boot[0].run", "is missing"),
        ({"boot": [{"step": " ", "run": "x"}]}, "boot[0].step", "must not be empty"),
        ({"boot": [{"step": "a", "run": ["x"]}]}, "boot[0].run", "must be text"),
        ({"boot": "x"}, "boot", "must be a list"),
        ({"command": 5}, "command", "text or a list of texts"),
        ({"command": []}, "command", "must name a program"),
        ({"command": ["a", 5]}, "command[1]", "must be text"),
        ({"command": ["a\0"]}, "command[0]", "NUL"),
        ({"command": "  "}, "command", "must not be empty"),
        ({"args": "x"}, "args", "must be a list"),
        ({"timeout": -1}, "timeout", "0 or more, not -1"),
        ({"timeout": float("nan")}, "timeout", "0 or more"),
        ({"timeout": float("inf")}, "timeout", "0 or more"),
        ({"timeout": "5"}, "timeout", "not text"),
        ({"provision_timeout_seconds": 0}, "provision_timeout_seconds", "from 1 to"),
        ({"provision_timeout_seconds": True}, "provision_timeout_seconds", "not true or false"),
        ({"provision_timeout_seconds": 1.5}, "provision_timeout_seconds", "whole number"),
        ({"provision_timeout_override": "yes"}, "provision_timeout_override", "must be true or false, not text"),
        ({"provision_timeout_override": 1}, "provision_timeout_override", "must be true or false, not a number"),
        ({"stall_timeout_seconds": -60}, "stall_timeout_seconds", "from 1 to"),
        ({"stall_timeout_seconds": "60"}, "stall_timeout_seconds", "not text"),
    ],
)
def test_a_wrong_value_of_the_runtime_is_named_with_its_key(runtime_config, key, message):
    [problem] = check_shape({"runtime_config": runtime_config}).problems
    assert problem.key == f"runtime_config.{key}"
    assert message in str(problem)


def test_all_problems_are_named_at_once():
    problems = check_shape({"name": 1, "tier": "x", "runtime_config": {"args": 1, "command": 2}}).problems
    assert [problem.key for problem in problems] == ["name", "tier", "runtime_config.command", "runtime_config.args"]


def test_a_misplaced_required_env_is_looked_for_in_bounded_time_depth_and_number():
    deep = {"required_env": ["A"]}
    for _ in range(100_000):
        deep = {"a": deep}
    assert check_shape({"deep": deep}).problems == []

    def check_many(items):
        assert len(check_shape({"many": items}).problems) == 5

    assert_grows_linearly(check_many, lambda number: [{"required_env": ["A"]} for _ in range(number)], size=100_000)


def test_a_known_key_is_looked_for_only_beside_the_unknown_ones_that_are_named(monkeypatch):
    compared = []

    def compare(*texts):
        compared.append(texts)
        return is_within_edits(*texts)

    monkeypatch.setattr(shape, "is_within_edits", compare)
    unknown = [*(f"x-{number}" for number in range(1000)), "nam", *(f"key{number}" for number in range(10_000))]
    warnings = check_shape(dict.fromkeys(unknown, 1)).warnings
    assert (len(warnings), warnings[0].hint) == (20, "Did you mean name?")
    # Each key is compared with required_env. There are more than 40 known ones.
    assert len(compared) < 3 * len(unknown)


def test_a_long_bad_name_is_shortened():
    [problem] = check_shape({"env": {"required": ["-" * 5000]}}).problems
    assert len(problem.message) < 200


@pytest.mark.parametrize("path", CATALOG, ids=lambda path: path.parent.name)
def test_every_template_of_the_catalog_has_a_good_shape(path):
    assert check_shape(yaml.safe_load(path.read_text())).problems == []
