"""The published JSON Schema of config.yaml refuses what the parser refuses or calls unknown, and nothing else."""

import json
from pathlib import Path

import jsonschema
import pytest

from tests.workspaces.configuration import test_parser
from tests.workspaces.configuration.test_preflight import REAL_CONFIGS
from workspaces.configuration.parser import inspect_config

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "docs/reference/config.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
CATALOG = sorted((ROOT / "catalog").glob("*/config.yaml"))
FILES = [*CATALOG, *sorted(REAL_CONFIGS.glob("*.yaml"))]
# What is wrong in the YAML itself is no matter of a schema: it is about the values.
OF_VALUES = {"wrong_type", "bad_value", "bad_name", "out_of_range", "missing_key", "misplaced_key", "unknown_key"}
GOOD = [
    "{}",
    "{runtime_config: , env: , a2a: null, name: ~, prompt_files: }",
    "version: 1.0",
    f"runtime: {'x' * 63}",
    "tier: 1",
    "tier: 10",
    "runtime_config: {timeout: 0.5, command: [run, ''], args: ['']}",
    "runtime_config: {command: run it, provision_timeout_seconds: 1, provision_timeout_override: true}",
    "runtime_config: {required_env: [_A, {any_of: [B, C]}], models: [{id: m, name: M, required_env: }]}",
    "runtime_config: {boot: [{step: install, run: 'true'}]}",
    "a2a: {port: 65535, streaming: no}",
    "tools: [a, {b: {c: [1]}}]",
    "x-notes: {a: [1]}\n_mine: 1\n.x: 1\nenv: {x-why: because}",
    "skills: [a, {name: b}]",
]
BAD = [
    f"runtime: {'x' * 64}",
    *("tier: 0", "tier: 11", "tier: -5"),
    *("name: 5", "role: [x]", "version: true", "version: [1]", "tier: '2'", "tier: 1.5", "runtime_config: []"),
    *("env: {required: A}", "env: {required: [2B]}", "env: {required: [~]}", "env: {required: [{any_of: []}]}"),
    *("env: {required: [{anyof: [A]}]}", "env: {required: [{any_of: [A, '']}]}", "env: {required: [{}]}"),
    *("a2a: {port: 0}", "a2a: {port: 65536}", "a2a: {port: '80'}", "prompt_files: [1]", "skills: x", "models: {m: {}}"),
    *("models: [{required_env: []}]", "models: [m]", "models: [{id: ' '}]", "models: [{id: m, required_env: ['1']}]"),
    *("runtime_config: {boot: [{step: a}]}", "runtime_config: {boot: [{step: a, run: [x]}]}"),
    *("runtime_config: {command: 5}", "runtime_config: {command: []}", "runtime_config: {command: ['', a]}"),
    *("runtime_config: {command: [a, 5]}", "runtime_config: {command: '  '}", "runtime_config: {args: x}"),
    *("runtime_config: {timeout: -1}", "runtime_config: {timeout: .nan}", "runtime_config: {timeout: soon}"),
    *("runtime_config: {provision_timeout_seconds: 0}", "runtime_config: {provision_timeout_seconds: 99999999}"),
    *("runtime_config: {provision_timeout_override: yes}", "runtime_config: {stall_timeout_seconds: true}"),
    *("runtme: echo", "runtime_config: {modle: x}", "env: {required: [{any_of: [A], x: 1}]}", "required_env: [A]"),
    *("agent: {required_env: [A]}", "tools: [{a: {required_env: [A]}}]", "x-a: {_b: [{required_env: [A]}]}"),
]
# Nearly a `required_env`, beneath a key that only a runtime reads: the parser finds that by edits, which no schema can.
BEYOND_A_SCHEMA = {"a required_env of a skill in camel case": "skills: [{requiredEnv: [A]}]"}
# The parser's own examples, but for those of which nothing can be read.
READABLE = {why: each[0] for why, each in test_parser.BAD.items() if inspect_config(each[0]).config}


def complaints(text):
    """Return the codes of what the parser says about the values, of problems and of unknown keys."""
    checked = inspect_config(text)
    return {each.code for each in [*checked.problems, *checked.warnings]} & OF_VALUES


def is_valid(text):
    return VALIDATOR.is_valid(inspect_config(text).config)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_it_accepts_every_file_of_the_catalog_and_the_public_templates(path):
    config = inspect_config(path.read_text()).config
    assert [error.message for error in VALIDATOR.iter_errors(config)] == []
    assert complaints(path.read_text()) == set()


@pytest.mark.parametrize("text", GOOD)
def test_it_accepts_what_the_parser_accepts(text):
    assert complaints(text) == set()
    assert is_valid(text)


@pytest.mark.parametrize("text", BAD)
def test_it_refuses_what_the_parser_refuses_or_calls_unknown(text):
    assert complaints(text) != set()
    assert not is_valid(text)


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE)
def test_it_agrees_with_the_parser_on_the_parsers_own_bad_examples(text):
    assert is_valid(text) is (complaints(text) == set())


@pytest.mark.parametrize("text", BEYOND_A_SCHEMA.values(), ids=BEYOND_A_SCHEMA)
def test_what_no_schema_can_say_is_left_to_the_parser(text):
    assert is_valid(text)
    assert complaints(text) == {"misplaced_key"}


@pytest.mark.parametrize("path", CATALOG, ids=lambda path: path.parent.name)
def test_each_file_of_the_catalog_tells_editors_where_the_schema_is(path):
    first = path.read_text().splitlines()[0]
    place = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / place).resolve() == ROOT / "docs/reference/config.schema.json"


def test_every_key_is_described():
    def undescribed(schema, path=""):
        for key, each in schema.get("properties", {}).items():
            if not each.get("description"):
                yield f"{path}.{key}"
            yield from undescribed(each, f"{path}.{key}")
        if isinstance(schema.get("items"), dict):
            yield from undescribed(schema["items"], f"{path}[]")

    assert list(undescribed(SCHEMA)) == []
