"""Check the keys of a config, and the types and ranges of its values: every problem at once, with the path of its key.

A key that nobody reads is a warning, unless it is nearly one of those that say which variables must be set, or holds
one of them: then it is a problem, because the launch would check nothing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from agent.texts import clean_name, is_visibly_empty

MAX_PORT = 65_535
MAX_TIER = 10
MAX_RUNTIME_CHARACTERS = 63
# Of the model that a request names, which is stored.
MAX_MODEL_CHARACTERS = 200
_MOST_WARNINGS = 20
_LONGEST_SHOWN_KEY = 100
# Two edits turn `requried_env` into `required_env`.
_MISSPELT_EDITS = 2
# Keys that Slipway passes on without reading them, because runtimes do. `simulation` is the simulated backend's.
_PASSED_ON = frozenset(
    [
        "category_routing",
        "channels",
        "compliance",
        "delegation",
        "effort",
        "governance",
        "hitl",
        "idle_interval_seconds",
        "idle_prompt",
        "idle_prompt_file",
        "initial_prompt",
        "initial_prompt_file",
        "memory",
        "plugins",
        "providers",
        "rbac",
        "sandbox",
        "schedules",
        "security_scan",
        "shared_context",
        "simulation",
        "sub_workspaces",
        "task_budget",
        "template_schema_version",
        "tools",
    ]
)
_PASSED_ON_OF_RUNTIME = frozenset(["auth_token_env", "auth_token_file", "providers", "recommended_env"])
# A config.yaml holds less than both (workspaces/configuration/parser.py).
_DEEPEST = 40
_MOST_WALKED = 20_000
_MOST_MISPLACED = 5
# Such as `env_required` and `required_variables`, without what separates the words.
_WORDS = "(?:(?:env|environment|var|variable|secret|key|name)s?)*"
_LIKE_REQUIRED_ENV = re.compile(f"{_WORDS}requir(?:e|es|ed){_WORDS}")
_NOTHING_READS = "nothing reads this key"
_WRITE_INSTEAD = "Write {}, or the launch checks no variable."
# What only a runtime reads: anything without a required_env.
_ANYTHING = {"$ref": "#/$defs/passed_on"}
_DEFINITIONS = {
    "passed_on": {"properties": {"required_env": False}, "additionalProperties": _ANYTHING, "items": _ANYTHING},
}
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Keys of the user's own.
_EXTENSION = re.compile(r"^(x-|_|\.)")


class Problem(NamedTuple):
    """One problem of a config: the path of its key, and a clause without a full stop that says what is wrong.

    `code` is stable, for programs; `hint` is a sentence that says what to do, or "". `texts` are those of the config
    that `message` and `hint` may have shortened, whole.
    """

    key: str
    message: str
    code: str = "wrong_type"
    hint: str = ""
    is_warning: bool = False
    texts: tuple[str, ...] = ()

    def __str__(self) -> str:
        clause = f"{self.message}. {self.hint.removesuffix('.')}" if self.hint else self.message
        return f"{display_key(self.key)}: {clause}" if self.key else clause


class Findings(NamedTuple):
    """What a check of a config found.

    `problems` are of keys that Slipway reads and whose values have a wrong type or range. `warnings` are of keys that
    neither Slipway nor a known runtime reads, with what was probably meant.
    """

    problems: list[Problem]
    warnings: list[Problem]


Check = Callable[[str, object], Iterator[Problem]]
Schema = Mapping[str, object]


class Rule(NamedTuple):
    """How a value is checked, and the same as a JSON Schema, from which docs/reference/config.schema.json is made."""

    check: Check
    schema: Schema

    def __call__(self, path: str, value: object) -> Iterator[Problem]:
        """Yield what is wrong with the value at this path."""
        return self.check(path, value)


def rule(schema: Schema) -> Callable[[Check], Rule]:
    """Make a check a rule with this schema."""
    return lambda check: Rule(check, schema)


def is_environment_name(value: object) -> bool:
    """Return whether the value can name a variable: letters, digits and underscores, no digit first."""
    return isinstance(value, str) and _ENVIRONMENT_NAME.fullmatch(value) is not None


def check_shape(config: object) -> Findings:
    """Return what is wrong with a config, and the first few keys that nothing reads."""
    if not isinstance(config, Mapping):
        return Findings([Problem("", f"the file must hold keys and values, not {_kind(config)}")], [])
    findings = Findings([], [])
    for found in _top("", config):
        if not found.is_warning:
            findings.problems.append(found)
        elif len(findings.warnings) < _MOST_WARNINGS:
            findings.warnings.append(found)
    return findings


def display_key(key: str) -> str:
    """Return the path of a key for a message: shortened, and with escapes for what the eye can't see."""
    return shorten(with_escapes(key))


def with_escapes(text: str) -> str:
    """Return a text of a config with escapes for what the eye can't see."""
    return text if text.isprintable() else ascii(text)


def shorten(text: str, *, most_characters: int = _LONGEST_SHOWN_KEY) -> str:
    """Return as much of a text as messages show, or its first characters, with an ellipsis if there are more."""
    return text if len(text) <= most_characters else f"{text[: most_characters - 1]}…"


def judge_unknown_keys(path: str, config: Mapping[object, object], known: set[str]) -> Iterator[Problem]:
    """Yield what is wrong with the keys that aren't among the known ones, and beneath them."""
    warned = 0
    for key, value in config.items():
        if key not in known:
            for found in judge_unknown_key(path, str(key), value, known, suggests=warned < _MOST_WARNINGS):
                warned += found.is_warning
                yield found


def judge_unknown_key(path: str, key: str, value: object, known: set[str], *, suggests: bool) -> Iterator[Problem]:
    """Yield what is wrong with a key that isn't one of the known ones, and beneath it.

    An extension such as `x-notes` only must not hold a required_env. A warning suggests a known key if wanted: looking
    for it takes long.
    """
    name = f"{path}.{key}" if path else key
    looks = visible_key(key)
    is_extension = _EXTENSION.match(key) is not None
    decisive = [each for each in ("required_env", "required") if each in known or each == "required_env"]
    meant = next((each for each in decisive if is_within_edits(looks, each, _MISSPELT_EDITS)), None)
    # `required: true` of a step or a port names no variables.
    if not is_extension and not isinstance(value, bool) and (not path or not known.isdisjoint(decisive)):
        meant = meant or (decisive[-1] if _LIKE_REQUIRED_ENV.fullmatch(re.sub("[_-]", "", looks)) else None)
    if meant:
        place = (path or "the top level") if meant in known else "runtime_config"
        hint = _WRITE_INSTEAD.format(f"{meant}, in {place}")
        yield Problem(name, _NOTHING_READS, code="misplaced_key", hint=hint)
        return
    yield from misplaced_requirements(name, value, in_env=None if is_extension else looks.startswith("env"))
    if not is_extension:
        edits, near = min(_MISSPELT_EDITS, (len(looks) + 1) // 3), sorted(known) if suggests else ()
        close = next((each for each in near if is_within_edits(looks, each, edits)), None)
        hint = f"Did you mean {close}?" if close else ""
        message = "neither Slipway nor a known runtime reads this key"
        yield Problem(name, message, code="unknown_key", hint=hint, is_warning=True)


def misplaced_requirements(path: str, value: object, *, in_env: bool | None = None) -> Iterator[Problem]:
    """Yield the first keys beneath a value that nothing reads, and that say which variables must be set.

    They are nearly `required_env`, or nearly `required` in a mapping such as `envs`. With `in_env` None, which is for
    what a runtime may read, the second are not looked for.
    """
    found = 0
    queue: list[tuple[tuple[str, ...], object, bool | None]] = [((path,), value, in_env)]
    # The queue grows meanwhile. A path is joined only if it is needed, since a key may be long.
    for parts, item, is_in_env in queue:
        if isinstance(item, list):
            children = [(f"[{index}]", "", child) for index, child in enumerate(item)]
        else:
            pairs = item.items() if isinstance(item, Mapping) else ()
            children = [(f".{key}", visible_key(str(key)), child) for key, child in pairs]
        for name, looks, child in children:
            meant = "env.required" if is_in_env and is_within_edits(looks, "required", _MISSPELT_EDITS) else None
            if is_within_edits(looks, "required_env", _MISSPELT_EDITS):
                meant = "required_env, in runtime_config"
            if meant:
                hint = _WRITE_INSTEAD.format(meant)
                yield Problem("".join((*parts, name)), _NOTHING_READS, code="misplaced_key", hint=hint)
                found += 1
            elif len(parts) < _DEEPEST and len(queue) < _MOST_WALKED:
                inner = is_in_env if not looks or in_env is None else looks.startswith("env")
                queue.append(((*parts, name), child, inner))
            if found == _MOST_MISPLACED:
                return


def visible_key(key: str) -> str:
    """Return the beginning of a key as the eye reads it: without spaces and invisible characters, in lower case."""
    normalised = unicodedata.normalize("NFKC", key[:_LONGEST_SHOWN_KEY])
    return "".join(character for character in normalised if character.isprintable()).replace(" ", "").casefold()


def is_within_edits(left: str, right: str, edits: int) -> bool:
    """Return whether so many insertions, deletions and replacements of a character turn one text into the other."""
    if abs(len(left) - len(right)) > edits:
        return False
    same = 0
    while same < min(len(left), len(right)) and left[same] == right[same]:
        same += 1
    left, right = left[same:], right[same:]
    if not left or not right or edits == 0:
        return max(len(left), len(right)) <= edits
    pairs = ((left[1:], right), (left, right[1:]), (left[1:], right[1:]))
    return any(is_within_edits(*pair, edits - 1) for pair in pairs)


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "keys and values"
    names = {
        type(None): "nothing",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
    }
    return names.get(
        type(value),
        "a list" if isinstance(value, list) else f"a {type(value).__name__}",
    )


def _shortened(value: object) -> str:
    return shorten(ascii(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number")


@rule({"type": "string"})
def _text(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(path, f"must be text, not {_kind(value)}")
    elif "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        yield Problem(path, "contains a NUL or half a surrogate pair, which can't be stored", code="bad_value")


def _name_of(most_characters: int | None = None) -> Rule:
    limit = {} if most_characters is None else {"maxLength": most_characters}

    @rule({"type": "string", **limit})
    def check(path: str, value: object) -> Iterator[Problem]:
        yield from (problems := list(_text(path, value)))
        if problems or not isinstance(value, str):
            return
        cleaned = value
        try:
            cleaned = clean_name(value)
        except ValueError as error:
            yield Problem(path, str(error), code="bad_value")
        # A name may become longer as it is cleaned.
        length = max(len(value), len(cleaned))
        if most_characters is not None and length > most_characters:
            message = f"must have at most {most_characters} characters, not {length}"
            yield Problem(path, message, code="bad_value")

    return check


def check_requested(*, model: str, runtime: str) -> Iterator[Problem]:
    """Yield what is wrong with the names that a request gives instead of those in its config."""
    for key, name, rule_of_name in (("model", model, _model_name), ("runtime", runtime, _runtime_name)):
        cleaned = name
        with suppress(ValueError):
            cleaned = clean_name(name)
        yield from rule_of_name(key, cleaned)


@rule({"type": "string", "pattern": "\\S"})
def _filled(path: str, value: object) -> Iterator[Problem]:
    yield from _text(path, value)
    if isinstance(value, str) and is_visibly_empty(value):
        yield Problem(path, "must not be empty", code="bad_value")


@rule({"type": ["string", "number"]})
def _version(path: str, value: object) -> Iterator[Problem]:
    # `1.0` is a number in YAML.
    yield from () if type(value) in (int, float) else _text(path, value)


@rule({"type": "integer"})
def _integer(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield Problem(path, f"must be a whole number, not {_kind(value)}")


@rule({"type": "boolean"})
def _boolean(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, bool):
        yield Problem(path, f"must be true or false, not {_kind(value)}")


def _between(least: int, most: int) -> Rule:
    @rule({"type": "integer", "minimum": least, "maximum": most})
    def check(path: str, value: object) -> Iterator[Problem]:
        wrong = list(_integer(path, value))
        if not wrong and isinstance(value, int) and not least <= value <= most:
            message = f"must be a whole number from {least} to {most}, not {_shortened(value)}"
            wrong = [Problem(path, message, code="out_of_range")]
        yield from wrong

    return check


@rule({"type": "number", "minimum": 0})
def _duration(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield Problem(path, f"must be a number of seconds, not {_kind(value)}")
    elif not 0 <= value < float("inf"):
        message = f"must be a number of seconds, 0 or more, not {_shortened(value)}"
        yield Problem(path, message, code="out_of_range")


def _list_of(item_rule: Rule) -> Rule:
    @rule({"type": "array", "items": item_rule.schema})
    def check(path: str, value: object) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield Problem(path, f"must be a list, not {_kind(value)}")
            return
        for index, item in enumerate(value):
            yield from item_rule(f"{path}[{index}]", item)

    return check


@rule(
    {
        "anyOf": [
            _filled.schema,
            {
                "type": "array",
                "items": _text.schema,
                "minItems": 1,
                "prefixItems": [{"type": "string", "minLength": 1}],
            },
        ]
    }
)
def _command(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, list):
        yield from _list_of(_text)(path, value)
        if not value or value[0] == "":
            yield Problem(path, "must name a program", code="bad_value")
    elif isinstance(value, str):
        yield from _filled(path, value)
    else:
        yield Problem(path, f"must be text or a list of texts, not {_kind(value)}")


@rule({"type": "string", "pattern": f"^{_ENVIRONMENT_NAME.pattern}$"})
def _name(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(path, f"must be the name of an environment variable, not {_kind(value)}")
    elif not is_environment_name(value):
        name = _shortened(value)
        message = f"{name} is not a name for an environment variable (letters, digits and _, no digit first)"
        yield Problem(path, message, code="bad_name", texts=(ascii(value),))


def nullable(schema: Schema) -> Schema:
    """Return the schema of a key that may have no value, which means that it is absent."""
    kinds = schema.get("type")
    if kinds is None:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [*(kinds if isinstance(kinds, list) else [kinds]), "null"]}


def _entry(rules: Mapping[str, Rule], *, required: tuple[str, ...] = (), passed_on: Iterable[str] = ()) -> Rule:
    known = {*rules, *passed_on}
    properties = {key: each.schema if key in required else nullable(each.schema) for key, each in rules.items()}

    @rule(
        {
            "type": "object",
            "properties": properties | dict.fromkeys(sorted(passed_on), _ANYTHING),
            "required": list(required),
            "patternProperties": {_EXTENSION.pattern: _ANYTHING},
            "additionalProperties": False,
        }
    )
    def check(path: str, value: object) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(path, f"must hold keys and values, not {_kind(value)}")
            return
        for key, key_rule in rules.items():
            if value.get(key) is not None:
                yield from key_rule(f"{path}.{key}" if path else key, value[key])
        yield from judge_unknown_keys(path, value, known)
        for key in value:
            if key in known and key not in rules:
                yield from misplaced_requirements(f"{path}.{key}" if path else key, value[key])
        missing = [key for key in required if value.get(key) is None]
        yield from (Problem(f"{path}.{key}", "is missing", code="missing_key") for key in missing)

    return check


_any_of = _entry(
    {"any_of": Rule(_list_of(_name).check, {"type": "array", "items": _name.schema, "minItems": 1})},
    required=("any_of",),
)


@rule({"anyOf": [_name.schema, _any_of.schema]})
def _requirement(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield from _name(path, value)
    elif not isinstance(value.get("any_of"), list) or not value["any_of"]:
        yield Problem(path, "must be a name, or any_of with a list of at least one name", code="bad_value")
    else:
        yield from _any_of(path, value)


_model_name = _name_of(MAX_MODEL_CHARACTERS)
_runtime_name = _name_of(MAX_RUNTIME_CHARACTERS)
_required_env = _list_of(_requirement)
_seconds = _between(1, 31_536_000)
_models = _list_of(
    _entry(
        {"id": _filled, "required_env": _required_env}, required=("id",), passed_on=("name", "description", "provider")
    )
)
_RUNTIME_CONFIG: dict[str, Rule] = {
    "model": _text,
    "models": _models,
    "required_env": _required_env,
    "boot": _list_of(_entry({"step": _filled, "run": _filled}, required=("step", "run"))),
    "command": _command,
    "args": _list_of(_text),
    "provision_timeout_seconds": _seconds,
    "provision_timeout_override": _boolean,
    "stall_timeout_seconds": _seconds,
    "timeout": _duration,
}
_top = _entry(
    {
        "name": _name_of(),
        "description": _text,
        "role": _text,
        "version": _version,
        "tier": _between(1, MAX_TIER),
        "runtime": _runtime_name,
        "model": _text,
        "models": _models,
        "env": _entry({"required": _required_env}, passed_on=("optional",)),
        "runtime_config": _entry(_RUNTIME_CONFIG, passed_on=_PASSED_ON_OF_RUNTIME),
        "a2a": _entry({"port": _between(1, MAX_PORT)}, passed_on=("streaming", "push_notifications")),
        "prompt_files": _list_of(_text),
        "skills": _list_of(Rule(misplaced_requirements, _ANYTHING)),
    },
    passed_on=_PASSED_ON,
)
CONFIG_SCHEMA: Schema = {**_top.schema, "$defs": _DEFINITIONS}
