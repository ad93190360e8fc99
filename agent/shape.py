"""Check the types and ranges of a config's values: every problem at once, each with the path of its key."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

MAX_PORT = 65_535
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Problem(NamedTuple):
    """One problem of a config: the path of its key, and a clause without a full stop that says what is wrong."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


Check = Callable[[str, object], Iterator[Problem]]


def is_environment_name(value: object) -> bool:
    """Return whether the value can name a variable: letters, digits and underscores, no digit first."""
    return isinstance(value, str) and _ENVIRONMENT_NAME.fullmatch(value) is not None


def problems_of_shape(config: object) -> list[Problem]:
    """Return a problem for each key that Slipway reads and whose value has a wrong type or range."""
    if not isinstance(config, Mapping):
        return [Problem("", f"the file must hold keys and values, not {_kind(config)}")]
    return list(_keys("", config, _TOP))


def _keys(path: str, value: object, checks: Mapping[str, Check]) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"must hold keys and values, not {_kind(value)}")
        return
    for key, check in checks.items():
        if value.get(key) is not None:
            yield from check(f"{path}.{key}" if path else key, value[key])


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
    if isinstance(value, str) and not value.strip():
        yield Problem(path, "must not be empty")


def _version(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield from _text(path, value)


def _integer(path: str, value: object) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield Problem(path, f"must be a whole number, not {_kind(value)}")


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
        yield from _list_of(_name)(f"{path}.any_of", value["any_of"])


def _entry(checks: Mapping[str, Check], *, required: tuple[str, ...]) -> Check:
    def check_entry(path: str, value: object) -> Iterator[Problem]:
        yield from _keys(path, value, checks)
        if isinstance(value, Mapping):
            yield from (Problem(f"{path}.{key}", "is missing") for key in required if value.get(key) is None)

    return check_entry


def _section(checks: Mapping[str, Check]) -> Check:
    return _entry(checks, required=())


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


_required_env = _list_of(_requirement)
_seconds = partial(_between, least=1, most=31_536_000)
_RUNTIME_CONFIG: dict[str, Check] = {
    "model": _text,
    "models": _list_of(_entry({"id": _filled, "required_env": _required_env}, required=("id",))),
    "required_env": _required_env,
    "boot": _list_of(_entry({"step": _filled, "run": _filled}, required=("step", "run"))),
    "command": _command,
    "args": _list_of(_text),
    "provision_timeout_seconds": _seconds,
    "stall_timeout_seconds": _seconds,
    "timeout": _duration,
}
_TOP: dict[str, Check] = {
    "name": _text,
    "description": _text,
    "role": _text,
    "version": _version,
    "tier": _integer,
    "runtime": _text,
    "model": _text,
    "env": _section({"required": _required_env}),
    "runtime_config": _section(_RUNTIME_CONFIG),
    "a2a": _section({"port": partial(_between, least=1, most=MAX_PORT)}),
    "prompt_files": _list_of(_text),
    "skills": _list_of(lambda path, value: iter(())),
}
