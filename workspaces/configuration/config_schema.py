"""docs/reference/config.schema.json: the rules of config.yaml as a JSON Schema, by which editors complete and check it.

The structure is that of agent/shape.py. It refuses what a preflight refuses, and keys that nothing reads, of which a
preflight only warns. What a schema can't say is left to the preflight: keys given twice, keys that are nearly another
one beneath keys that only a runtime reads, and text that shows nothing.
"""

import json
from collections.abc import Mapping
from typing import Any

from agent import rules

_PASSED_ON = "Slipway passes it on to the runtime."
_DESCRIPTIONS = {
    "name": "What operators call the workspace.",
    "description": "What it is for.",
    "role": "Its role among its peers.",
    "version": "The version of this configuration.",
    "tier": "How much it is worth.",
    "runtime": f"What runs the agent. Default: {rules.DEFAULT_RUNTIME}.",
    "model": "The model, unless runtime_config.model or the request names one.",
    "env": "The environment of the workspace.",
    "env.required": "Variables that must be set: names, or any_of with names of which one suffices.",
    "any_of": "One of these variables suffices.",
    "models": "What single models need instead of runtime_config.required_env.",
    "models[].id": "A model in any letter case, or a pattern such as hub/*.",
    "models[].required_env": "The variables that this model needs.",
    "runtime_config": "How the runtime is started.",
    "runtime_config.model": "The model, unless the request names one.",
    "runtime_config.models": "What single models need instead of required_env.",
    "runtime_config.required_env": "Variables that must be set: names, or any_of with names of which one suffices.",
    "runtime_config.boot": "Steps that the agent runs and reports, one by one, before the command.",
    "runtime_config.boot[].step": "What operators see while it runs.",
    "runtime_config.boot[].run": "A command for /bin/sh.",
    "runtime_config.command": "The program that the agent supervises: text for /bin/sh, or a list of its arguments.",
    "runtime_config.args": "Further arguments of the command.",
    "runtime_config.provision_timeout_seconds": "How long a boot may take; a longer limit of its runtime counts.",
    "runtime_config.provision_timeout_override": "The limit counts even if the runtime's is longer.",
    "runtime_config.stall_timeout_seconds": "How long a boot may go on without a new step.",
    "runtime_config.timeout": "For the runtime: how long a task may take, in seconds. 0: no limit.",
    "a2a": "The address at which the agent takes requests.",
    "a2a.port": "Slipway gives each launch a port of its own instead.",
    "prompt_files": "Files beside config.yaml that the runtime reads as prompts.",
    "skills": "For the runtime: the skills of the agent.",
}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) with a description of each key."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Slipway: config.yaml of a workspace",
        "description": "Every key is optional. Keys that begin with x-, _ or . are yours.",
        **described(rules.CONFIG_SCHEMA, ""),
    }


def schema_page() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(config_schema(), indent=2) + "\n"


def described(schema: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of the value at a path, with descriptions of the keys below. Raises KeyError without one."""
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {
            key: property_of(each, f"{path}.{key}" if path else key) for key, each in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = described(schema["items"], f"{path}[]")
    if "anyOf" in schema:
        result["anyOf"] = [described(each, path) for each in schema["anyOf"]]
    return result


def property_of(schema: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of a key, with its description first."""
    if "$ref" in schema:
        return {"description": _PASSED_ON, **schema}
    if path not in _DESCRIPTIONS:
        # The models at the top have the same keys as those of runtime_config, and any_of stands in several lists.
        path = path.rpartition(".")[2] if path.endswith(".any_of") else path.removeprefix("runtime_config.")
    return {"description": _DESCRIPTIONS[path], **described(schema, path)}
