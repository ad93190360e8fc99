"""Check the keys of a config, and the types and ranges of its values: every problem at once, with the path of its key.

A key that nobody reads is a warning, unless it is nearly one of those that say which variables must be set, or holds
one of them: then it is a problem, because the launch would check nothing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from agent.texts import is_visibly_empty

MAX_PORT = 65_535
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
_NOTHING_READS = "nothing reads this key. Write {}, or the launch checks no variable"
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Problem(NamedTuple):
    """One problem of a config: the path of its key, and a clause without a full stop that says what is wrong."""

    key: str
    message: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{display_key(self.key)}: {self.message}" if self.key else self.message


class Findings(NamedTuple):
    """What a check of a config found.

    `problems` are of keys that Slipway reads and whose values have a wrong type or range. `warnings` are of keys that
    neither Slipway nor a known runtime reads, with what was probably meant.
    """

    problems: list[Problem]
    warnings: list[Problem]


Check = Callable[[str, object], Iterator[Problem]]


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
    text = key if key.isprintable() else ascii(key)
    return text if len(text) <= _LONGEST_SHOWN_KEY else f"{text[: _LONGEST_SHOWN_KEY - 1]}…"


def judge_unknown_key(path: str, key: str, value: object, known: set[str]) -> Iterator[Problem]:
    """Yield what is wrong with a key that isn't one of the known ones, and beneath it.

    An extension such as `x-notes` only must not hold a required_env.
    """
    name = f"{path}.{key}" if path else key
    looks = visible_key(key)
    is_extension = key.startswith(("x-", "_", "."))
    decisive = [each for each in ("required_env", "required") if each in known or each == "required_env"]
    meant = next((each for each in decisive if is_within_edits(looks, each, _MISSPELT_EDITS)), None)
    # `required: true` of a step or a port names no variables.
    if not is_extension and not isinstance(value, bool) and (not path or not known.isdisjoint(decisive)):
        meant = meant or (decisive[-1] if _LIKE_REQUIRED_ENV.fullmatch(re.sub("[_-]", "", looks)) else None)
    if meant:
        place = (path or "the top level") if meant in known else "runtime_config"
        yield Problem(name, _NOTHING_READS.format(f"{meant}, in {place}"))
        return
    yield from misplaced_requirements(name, value, in_env=None if is_extension else looks.startswith("env"))
    if not is_extension:
        edits = min(_MISSPELT_EDITS, (len(looks) + 1) // 3)
        close = next((each for each in sorted(known) if is_within_edits(looks, each, edits)), None)
        hint = f". Did you mean {close}?" if close else ""
        yield Problem(name, f"neither Slipway nor a known runtime reads this key{hint}", is_warning=True)


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
                yield Problem("".join((*parts, name)), _NOTHING_READS.format(meant))
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


def _text(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(path, f"must be text, not {_kind(value)}")
    elif "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        yield Problem(
            path,
            "contains a NUL or half a surrogate pair, which can't be stored",
        )


def _filled(path: str, value: object) -> Iterator[Problem]:
    yield from _text(path, value)
    if isinstance(value, str) and is_visibly_empty(value):
        yield Problem(path, "must not be empty")


def _integer(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield Problem(path, f"must be a whole number, not {_kind(value)}")


def _boolean(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, bool):
        yield Problem(path, f"must be true or false, not {_kind(value)}")


def _between(path: str, value: object, least: int, most: int) -> Iterator[Problem]:
    wrong = list(_integer(path, value))
    if not wrong and isinstance(value, int) and not least <= value <= most:
        wrong = [
            Problem(
                path,
                f"must be a whole number from {least} to {most}, not {_shortened(value)}",
            )
        ]
    yield from wrong


def _duration(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield Problem(path, f"must be a number of seconds, not {_kind(value)}")
    elif not 0 <= value < float("inf"):
        yield Problem(path, f"must be a number of seconds, 0 or more, not {_shortened(value)}")


def _list_of(check: Check) -> Check:
    def check_list(path: str, value: object) -> Iterator[Problem]:
        if not isinstance(value, list):
            yield Problem(path, f"must be a list, not {_kind(value)}")
            return
        for index, item in enumerate(value):
            yield from check(f"{path}[{index}]", item)

    return check_list


def _command(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, list):
        yield from _list_of(_text)(path, value)
        if not value or value[0] == "":
            yield Problem(path, "must name a program")
    elif isinstance(value, str):
        yield from _filled(path, value)
    else:
        yield Problem(path, f"must be text or a list of texts, not {_kind(value)}")


def _name(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(path, f"must be the name of an environment variable, not {_kind(value)}")
    elif not is_environment_name(value):
        yield Problem(
            path,
            f"{_shortened(value)} is not a name for an environment variable (letters, digits and _, no digit first)",
        )


def _requirement(path: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield from _name(path, value)
    elif not isinstance(value.get("any_of"), list) or not value["any_of"]:
        yield Problem(path, "must be a name, or any_of with a list of at least one name")
    else:
        yield from _any_of(path, value)


def _entry(checks: Mapping[str, Check], *, required: tuple[str, ...] = (), passed_on: Iterable[str] = ()) -> Check:
    known = {*checks, *passed_on}

    def check_entry(path: str, value: object) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(path, f"must hold keys and values, not {_kind(value)}")
            return
        for key, check in checks.items():
            if value.get(key) is not None:
                yield from check(f"{path}.{key}" if path else key, value[key])
        for key in value:
            if key not in known:
                yield from judge_unknown_key(path, str(key), value[key], known)
            elif key not in checks:
                yield from misplaced_requirements(f"{path}.{key}" if path else key, value[key])
        yield from (Problem(f"{path}.{key}", "is missing") for key in required if value.get(key) is None)

    return check_entry


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
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}…"


_any_of = _entry({"any_of": _list_of(_name)})
_required_env = _list_of(_requirement)
_seconds = partial(_between, least=1, most=31_536_000)
_models = _list_of(
    _entry(
        {"id": _filled, "required_env": _required_env}, required=("id",), passed_on=("name", "description", "provider")
    )
)
_RUNTIME_CONFIG: dict[str, Check] = {
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
        "name": _text,
        "description": _text,
        "role": _text,
        "version": lambda path, value: iter(()) if type(value) in (int, float) else _text(path, value),
        "tier": _integer,
        "runtime": _text,
        "model": _text,
        "models": _models,
        "env": _entry({"required": _required_env}, passed_on=("optional",)),
        "runtime_config": _entry(_RUNTIME_CONFIG, passed_on=_PASSED_ON_OF_RUNTIME),
        "a2a": _entry(
            {"port": partial(_between, least=1, most=MAX_PORT)}, passed_on=("streaming", "push_notifications")
        ),
        "prompt_files": _list_of(_text),
        "skills": _list_of(misplaced_requirements),
    },
    passed_on=_PASSED_ON,
)
