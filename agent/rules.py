"""The rules of a config.yaml, as pure functions of the dict that it parses to.

The server applies them before a launch, the agent inside it. Standard library only: the server parses YAML, the agent
reads config.json. A key without a value (`runtime_config:` alone, null) counts as absent.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.models import ModelEntry, matching_entry
from agent.shape import (
    CONFIG_SCHEMA,
    Problem,
    check_requested,
    check_shape,
    display_key,
    is_environment_name,
    shorten,
    with_escapes,
)

# The server imports only this module, so it re-exports what the server needs from agent.shape.
__all__ = [
    "CONFIG_SCHEMA",
    "DEFAULT_RUNTIME",
    "GIVEN_NAMES",
    "Problem",
    "Requirement",
    "boot_steps",
    "check_requested",
    "check_shape",
    "command_of",
    "display_key",
    "effective",
    "is_environment_name",
    "matched_entry",
    "missing",
    "missing_message",
    "missing_names",
    "name_missing",
    "picked_model",
    "provision_timeout_override",
    "provision_timeout_seconds",
    "required_env",
    "required_places",
    "runtime_of",
    "shorten",
    "stall_timeout_seconds",
    "with_escapes",
]

DEFAULT_RUNTIME = "langgraph"
# The platform sets these for every workspace, so they are never missing; secrets can't have these names.
GIVEN_NAMES = frozenset(
    {
        "HOME",
        "HEARTBEAT_INTERVAL_SECONDS",
        "WORKSPACE_MODEL",
        "WORKSPACE_ID",
        "WORKSPACE_CONFIG_PATH",
        "CONFIGS_DIR",
        "PORT",
        "PLATFORM_URL",
        "MOLECULE_URL",
    }
    | {"TIER", "LAUNCH_ID", "WORKSPACE_TOKEN"}
)

Config = Mapping[str, object]


class Requirement(NamedTuple):
    """Names of environment variables, one of which must be set; nearly always a single name."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(self.names)

    def is_met_by(self, environment: Mapping[str, str]) -> bool:
        return any(name in GIVEN_NAMES or _is_set(environment, name) for name in self.names)


# --- What a config asks for --------------------------------------------------------------------------------


def runtime_of(config: Config) -> str:
    """Return the runtime's name; `langgraph` if the config has none."""
    return _text(config, "runtime") or DEFAULT_RUNTIME


def picked_model(config: Config, requested: str | None = None) -> str | None:
    """Return the model: the requested one, otherwise runtime_config.model, otherwise model."""
    return requested or _text(_mapping(config, "runtime_config"), "model") or _text(config, "model") or None


def matched_entry(config: Config, model: str | None = None) -> ModelEntry | None:
    """Return the entry of runtime_config.models or of models that applies to the picked model (agent/models.py)."""
    lists = {
        "runtime_config.models": _list(_mapping(config, "runtime_config"), "models"),
        "models": _list(config, "models"),
    }
    return matching_entry(picked_model(config, model), lists)


def required_places(config: Config, model: str | None = None) -> dict[Requirement, str]:
    """Return what must be set, in the order of the config, each with the path of the first item that asks for it.

    This is runtime_config.required_env plus env.required. The required_env of the entry that applies to the picked
    model replaces the first.
    """
    entry = matched_entry(config, model)
    place = f"{entry.place}." if entry and entry.required_env is not None else "runtime_config."
    lists = {
        f"{place}required_env": _runtime_required(config, model),
        "env.required": _list(_mapping(config, "env"), "required"),
    }
    places: dict[Requirement, str] = {}
    for path, items in lists.items():
        for index, item in enumerate(items):
            if found := _requirement(item):
                places.setdefault(found, f"{path}[{index}]")
    return places


def required_env(config: Config, model: str | None = None) -> list[Requirement]:
    """Return what must be set, in the order of the config, each once."""
    return list(required_places(config, model))


def missing(config: Config, environment: Mapping[str, str], model: str | None = None) -> list[Requirement]:
    """Return the requirements that the environment does not meet: absent, empty or only white space."""
    return [requirement for requirement in required_env(config, model) if not requirement.is_met_by(environment)]


def missing_names(requirements: Iterable[Requirement]) -> list[str]:
    """Return the names, each once; all names of an `any_of`."""
    return list(dict.fromkeys(name for requirement in requirements for name in requirement.names))


def name_missing(requirements: Sequence[Requirement]) -> tuple[str, str]:
    """Return a sentence that names every missing variable, and one that says what to do (wire contract)."""
    phrases = [str(one) if len(one.names) == 1 else f"one of {one}" for one in requirements]
    noun = "environment variable" if len(phrases) == 1 else "environment variables"
    them = "it" if len(phrases) == 1 else "them"
    listed = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return (
        f"Missing required {noun} {listed}.",
        f"Add {them} to this workspace's secrets or to the global secrets, then restart.",
    )


def missing_message(requirements: Sequence[Requirement], entry: ModelEntry | None = None) -> str:
    """Return the message about missing variables. `entry` is the one of the picked model, if its requirements count."""
    applies = [str(entry)] if entry and entry.required_env is not None else []
    return " ".join([*name_missing(requirements), *applies])


def provision_timeout_seconds(config: Config) -> int | None:
    """Return the template's own boot limit in seconds, or None."""
    return _positive(_mapping(config, "runtime_config").get("provision_timeout_seconds"))


def provision_timeout_override(config: Config) -> bool:
    """Return whether the template's own boot limit counts even if its runtime's is longer."""
    return _mapping(config, "runtime_config").get("provision_timeout_override") is True


def stall_timeout_seconds(config: Config) -> int | None:
    """Return the longest time in seconds without a new progress step, or None."""
    return _positive(_mapping(config, "runtime_config").get("stall_timeout_seconds"))


def boot_steps(config: Config) -> list[tuple[str, str]]:
    """Return the boot steps as (step, shell command), in order."""
    steps = _list(_mapping(config, "runtime_config"), "boot")
    return [(str(item["step"]), str(item["run"])) for item in steps if isinstance(item, Mapping)]


def command_of(config: Config) -> list[str]:
    """Return the runtime's command with its arguments; empty if the config sets none.

    A command that is a string runs in a shell, with its arguments as "$@".
    """
    runtime_config = _mapping(config, "runtime_config")
    command, arguments = (
        runtime_config.get("command"),
        [str(item) for item in _list(runtime_config, "args")],
    )
    if isinstance(command, str) and command.strip():
        return [
            "/bin/sh",
            "-c",
            f'{command} "$@"' if arguments else command,
            "sh",
            *arguments,
        ]
    return [*(str(item) for item in command), *arguments] if isinstance(command, list) and command else []


def effective(
    config: Config,
    *,
    port: int,
    environment: Mapping[str, str],
    model: str | None = None,
) -> dict[str, object]:
    """Return the config in the shape that existing runtimes read.

    `a2a.port` is the given port, `runtime_config.model` the requested model, and required names are plain: an `any_of`
    becomes those of its names that are set.
    """
    runtime_config = dict(_mapping(config, "runtime_config"))
    if model:
        runtime_config["model"] = model
    runtime_config["required_env"] = _plain(_runtime_required(config, model), environment)
    shaped_models = {"models": _plain_models(config, environment)} if isinstance(config.get("models"), list) else {}
    if isinstance(runtime_config.get("models"), list):
        runtime_config["models"] = _plain_models(runtime_config, environment)
    shaped = {
        **config,
        **shaped_models,
        "runtime_config": runtime_config,
        "a2a": {**_mapping(config, "a2a"), "port": port},
    }
    if "env" in config:
        env = _mapping(config, "env")
        shaped["env"] = {**env, "required": _plain(_list(env, "required"), environment)}
    return shaped


# --- Readers that take any shape ---------------------------------------------------------------------------


def _mapping(config: Config, key: str) -> Config:
    value = config.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(config: Config, key: str) -> list[object]:
    value = config.get(key)
    return value if isinstance(value, list) else []


def _text(config: Config, key: str) -> str:
    value = config.get(key)
    return value.strip() if isinstance(value, str) else ""


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return bool(environment.get(name, "").strip())


def _requirement(item: object) -> Requirement | None:
    names = item.get("any_of") if isinstance(item, Mapping) else [item]
    valid = [name for name in names if is_environment_name(name)] if isinstance(names, list) else []
    return Requirement(tuple(dict.fromkeys(map(str, valid)))) if valid else None


def _runtime_required(config: Config, model: str | None) -> list[object]:
    entry = matched_entry(config, model)
    if entry and entry.required_env is not None:
        return entry.required_env
    return _list(_mapping(config, "runtime_config"), "required_env")


def _plain_models(section: Config, environment: Mapping[str, str]) -> list[object]:
    return [
        {**item, "required_env": _plain(_list(item, "required_env"), environment)}
        if isinstance(item, Mapping) and isinstance(item.get("required_env"), list)
        else item
        for item in _list(section, "models")
    ]


def _plain(items: Iterable[object], environment: Mapping[str, str]) -> list[str]:
    wanted = [requirement for item in items if (requirement := _requirement(item))]
    return missing_names(
        Requirement(tuple(name for name in one.names if len(one.names) == 1 or _is_set(environment, name)))
        for one in wanted
    )
