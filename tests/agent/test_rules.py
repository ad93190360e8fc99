"""What a config asks for, as tables."""

import copy
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import rules
from agent.rules import Requirement

ANY_OF = {"any_of": ["HERMES_API_KEY", "OPENROUTER_API_KEY"]}
known_keys = st.sampled_from(
    ["name", "runtime", "model", "env", "required", "runtime_config", "required_env", "any_of", "models", "id"]
    + ["boot", "step", "run", "command", "args", "a2a", "port", "tier", "version", "timeout", "prompt_files"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known_keys | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
nearly_configs = st.dictionaries(known_keys, json_values, max_size=6)
anything = settings(max_examples=60)


def required(*items, **more):
    return {"runtime_config": {"required_env": list(items), **more}}


@pytest.mark.parametrize(
    ("config", "runtime"),
    [
        ({}, "langgraph"),
        ({"runtime": None}, "langgraph"),
        ({"runtime": ""}, "langgraph"),
        ({"runtime": "  "}, "langgraph"),
        ({"runtime": "hermes"}, "hermes"),
    ],
)
def test_a_config_without_a_runtime_means_langgraph(config, runtime):
    assert rules.runtime_of(config) == runtime


@pytest.mark.parametrize(
    ("config", "requested", "picked"),
    [
        ({}, None, None),
        ({"model": "a"}, None, "a"),
        ({"model": "a", "runtime_config": None}, None, "a"),
        ({"model": "a", "runtime_config": {"model": "b"}}, None, "b"),
        ({"model": "a", "runtime_config": {"model": "b"}}, "c", "c"),
    ],
)
def test_the_requested_model_comes_before_that_of_the_runtime_and_that_of_the_config(config, requested, picked):
    assert rules.picked_model(config, requested) == picked


@pytest.mark.parametrize(
    ("config", "model", "names"),
    [
        ({}, None, []),
        ({"runtime_config": None, "env": None}, None, []),
        ({"env": {"required": None}}, None, []),
        (required("A", "B"), None, ["A", "B"]),
        (required("A", "A"), None, ["A"]),
        ({**required("A"), "env": {"required": ["B", "A"]}}, None, ["A", "B"]),
        (required(ANY_OF), None, ["HERMES_API_KEY or OPENROUTER_API_KEY"]),
        (required("A", models=[{"id": "m", "required_env": ["B"]}]), None, ["A"]),
        (required("A", models=[{"id": "m", "required_env": ["B"]}]), "m", ["B"]),
        (required("A", models=[{"id": "m", "required_env": ["B"]}], model="m"), None, ["B"]),
        (required("A", models=[{"id": "m", "required_env": []}]), "m", []),
        (required("A", models=[{"id": "m", "required_env": None}]), "m", ["A"]),
        (required("A", models=[{"id": "m"}]), "m", ["A"]),
        ({**required("A", models=[{"id": "m", "required_env": ["B"]}]), "env": {"required": ["C"]}}, "m", ["B", "C"]),
    ],
)
def test_required_names_come_from_the_runtime_or_the_picked_model_and_from_env(config, model, names):
    assert [str(requirement) for requirement in rules.required_env(config, model)] == names


HUB = {"id": "hub/*", "required_env": ["HUB_TOKEN"]}


def entry(identifier, *names):
    return {"id": identifier, "required_env": list(names)}


@pytest.mark.parametrize(
    ("models", "model", "names"),
    [
        ([HUB], "hub/x", ["HUB_TOKEN"]),
        ([HUB], "HUB/x/y", ["HUB_TOKEN"]),
        ([HUB], "other/x", ["A"]),
        ([HUB], "hub", ["A"]),
        ([entry("Sonnet", "B")], "sonnet", ["B"]),
        ([entry(" sonnet ", "B")], "SONNET\t", ["B"]),
        ([entry("straße", "B")], "STRASSE", ["B"]),
        ([entry("hub/", "B")], "Hub/x", ["B"]),
        ([entry("openai:", "B")], "openai:gpt-4.1", ["B"]),
        ([entry("MiniMax-", "B")], "minimax-m2", ["B"]),
        ([entry("openai", "B")], "openai:gpt-4.1", ["B"]),
        ([entry("openai", "B")], "openai/gpt-4.1", ["B"]),
        ([entry("son", "B")], "sonnet", ["A"]),
        ([entry("*", "B")], "anything", ["B"]),
        ([entry("*-mini", "B")], "gpt-4.1-mini", ["B"]),
        ([entry("gpt-*-mini*", "B")], "gpt-4.1-mini-high", ["B"]),
        ([entry("gpt-*-mini", "B")], "gpt-mini", ["A"]),
        ([entry("a*a", "B")], "a", ["A"]),
        ([entry("*", "C"), entry("hub/*", "B"), entry("hub/x*", "D")], "hub/xy", ["D"]),
        ([entry("hub/*", "B"), entry("hub/x", "C")], "hub/X", ["C"]),
        ([entry("m", "B"), entry("M", "C")], "m", ["B"]),
        ([entry("*", "B"), {"id": "hub/x"}], "hub/x", ["A"]),
        ([entry("hub/*")], "hub/x", []),
        ([entry("[a-z]?b", "B")], "xxb", ["A"]),
    ],
)
@pytest.mark.parametrize("place", ["runtime_config", "the top level"])
def test_an_entry_of_models_matches_as_the_public_runtime_does(models, model, names, place):
    config = required("A", models=models) if place == "runtime_config" else required("A") | {"models": models}
    assert rules.missing_names(rules.required_env(config, model)) == names
    shaped = rules.effective(config, port=1, environment=dict.fromkeys(names, "x"), model=model)
    assert rules.missing(shaped, dict.fromkeys(names, "x")) == []
    assert rules.missing_names(rules.missing(shaped, {})) == names


def test_of_equal_entries_that_of_runtime_config_wins():
    config = required("A", models=[entry("m", "B")]) | {"models": [entry("m", "C")], "model": "M"}
    assert rules.missing_names(rules.required_env(config)) == ["B"]


def test_the_message_names_the_entry_that_matched():
    config = required("A", models=[entry("x", "B")]) | {"models": [HUB]}
    missing = rules.missing(config, {}, "Hub/x")
    assert rules.missing_message(missing, rules.matched_entry(config, "Hub/x")) == (
        "Missing required environment variable HUB_TOKEN. Add it to this workspace's secrets or to the global secrets, "
        'then restart. The entry "hub/*" (models[0]) applies to the model Hub/x.'
    )


@pytest.mark.parametrize("size", [2_000, 4_000])
def test_a_hostile_pattern_takes_no_time(size):
    began = time.process_time()
    config = required("A", models=[entry("a*" * size + "b", "B")])
    assert rules.missing_names(rules.required_env(config, "a" * 10_000)) == ["A"]
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, ["A", "B"]),
        ({"A": ""}, ["A", "B"]),
        ({"A": " \t\n"}, ["A", "B"]),
        ({"A": "x"}, ["B"]),
        ({"a": "x", "B": "0"}, ["A"]),
        ({"A": "x", "B": "y"}, []),
    ],
)
def test_a_variable_that_is_absent_empty_or_blank_is_missing(environment, names):
    assert rules.missing_names(rules.missing(required("A", "B"), environment)) == names


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, ["HERMES_API_KEY", "OPENROUTER_API_KEY"]),
        ({"HERMES_API_KEY": " "}, ["HERMES_API_KEY", "OPENROUTER_API_KEY"]),
        ({"OPENROUTER_API_KEY": "x"}, []),
        ({"HERMES_API_KEY": "x"}, []),
    ],
)
def test_one_name_of_an_any_of_item_is_enough(environment, names):
    assert rules.missing_names(rules.missing(required(ANY_OF), environment)) == names


def test_variables_that_the_platform_sets_are_never_missing():
    assert rules.missing(required("PORT", "WORKSPACE_ID", "A"), {}) == [Requirement(("A",))]


@pytest.mark.parametrize(
    ("groups", "start"),
    [
        (["A"], "Missing required environment variable A. Add it to this workspace's secrets"),
        (["A", "B"], "Missing required environment variables A and B. Add them to"),
        (["A", "B", "C|D"], "Missing required environment variables A, B and one of C or D. Add them to"),
        (["C|D"], "Missing required environment variable one of C or D. Add it to"),
    ],
)
def test_the_message_names_everything_that_is_missing(groups, start):
    message = rules.missing_message([Requirement(tuple(group.split("|"))) for group in groups])
    assert message.startswith(start)
    assert message.endswith(" or to the global secrets, then restart.")


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), (60, 60), (0, None), (-1, None), (True, None), ("60", None), (1.5, None)]
)
def test_a_limit_is_a_whole_positive_number_of_seconds(value, seconds):
    config = {"runtime_config": {"provision_timeout_seconds": value, "stall_timeout_seconds": value}}
    assert rules.provision_timeout_seconds(config) == seconds
    assert rules.stall_timeout_seconds(config) == seconds


@pytest.mark.parametrize(
    ("runtime_config", "command"),
    [
        (None, []),
        ({}, []),
        ({"command": None, "args": ["a"]}, []),
        ({"command": []}, []),
        ({"command": ["run", "it"], "args": ["now"]}, ["run", "it", "now"]),
        ({"command": "run it"}, ["/bin/sh", "-c", "run it", "sh"]),
        ({"command": "run", "args": ["a b"]}, ["/bin/sh", "-c", 'run "$@"', "sh", "a b"]),
    ],
)
def test_a_command_is_a_list_or_a_line_for_the_shell(runtime_config, command):
    assert rules.command_of({"runtime_config": runtime_config}) == command


def test_the_effective_config_holds_the_port_and_plain_names():
    config = {
        "runtime": "hermes",
        "a2a": {"port": 8000, "streaming": True},
        "env": {"required": ["A"]},
        **required(ANY_OF, "B", models=[{"id": "m", "required_env": [ANY_OF]}]),
    }
    shaped = rules.effective(config, port=4711, environment={"A": "1", "B": "2", "OPENROUTER_API_KEY": "3"})
    assert shaped["a2a"] == {"port": 4711, "streaming": True}
    assert shaped["env"] == {"required": ["A"]}
    assert shaped["runtime_config"] == {
        "required_env": ["OPENROUTER_API_KEY", "B"],
        "models": [{"id": "m", "required_env": ["OPENROUTER_API_KEY"]}],
    }


def test_the_effective_config_remembers_the_requested_model():
    config = required("A", models=[{"id": "m", "required_env": ["B"]}], model="other")
    shaped = rules.effective(config, port=1, environment={"B": "x"}, model="m")
    assert rules.picked_model(shaped) == "m"
    assert rules.missing(shaped, {"B": "x"}) == []


def test_the_effective_config_does_not_change_the_given_one():
    config = {**required(ANY_OF), "env": None, "a2a": None}
    before = copy.deepcopy(config)
    rules.effective(config, port=1, environment={})
    assert config == before


@anything
@given(config=nearly_configs, model=st.none() | st.text())
def test_rules_do_not_crash_on_any_json(config, model):
    missing = rules.missing(config, {"A": "x"}, model)
    shaped = rules.effective(config, port=80, environment={"A": "x"}, model=model)
    assert all(isinstance(name, str) for name in rules.missing_names(missing))
    assert shaped["a2a"]["port"] == 80
    assert all(isinstance(part, str) for part in rules.command_of(config))


@anything
@given(config=nearly_configs)
def test_a_config_without_problems_has_only_steps_and_commands_that_can_run(config):
    if not rules.check_shape(config).problems:
        assert all(step.strip() and run.strip() for step, run in rules.boot_steps(config))
        assert rules.effective(json.loads(json.dumps(config)), port=1, environment={})


@anything
@given(value=json_values)
def test_a_check_of_the_shape_answers_for_any_value(value):
    problems = rules.check_shape(value).problems
    assert isinstance(value, dict) or problems
    assert all(str(problem).strip() for problem in problems)
