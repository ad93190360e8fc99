"""What an agent is given at its start: the environment of its launch and the folder that it names."""

import json
from collections.abc import Mapping
from typing import NamedTuple

DEFAULT_HEARTBEAT_SECONDS = 30.0


class BadLaunch(Exception):
    """The environment or the configuration is unusable. The message names the variable or the file."""


class Launch(NamedTuple):
    """One launch as its agent sees it. `token` authenticates its calls to the platform."""

    workspace_id: str
    launch_id: str
    platform_url: str
    token: str
    port: str
    folder: str
    heartbeat_seconds: float


def read_launch(environment: Mapping[str, str]) -> Launch:
    """Return this launch. Raises BadLaunch for a variable that is missing or unusable."""
    folder = _needed(environment, "WORKSPACE_CONFIG_PATH")
    seconds = environment.get("HEARTBEAT_INTERVAL_SECONDS", "").strip()
    try:
        heartbeat_seconds = float(seconds) if seconds else DEFAULT_HEARTBEAT_SECONDS
    except ValueError:
        heartbeat_seconds = 0.0
    if not 0 < heartbeat_seconds < float("inf"):
        raise BadLaunch("HEARTBEAT_INTERVAL_SECONDS must be a number of seconds above 0.")
    token = environment.get("WORKSPACE_TOKEN", "").strip()
    if not token:
        try:
            with open(f"{folder}/.auth_token", encoding="utf-8") as file:
                token = file.read().strip()
        except (OSError, ValueError) as error:
            raise BadLaunch(f"WORKSPACE_TOKEN is not set and {folder}/.auth_token can't be read.") from error
    return Launch(
        workspace_id=_needed(environment, "WORKSPACE_ID"),
        launch_id=environment.get("LAUNCH_ID", ""),
        platform_url=_needed(environment, "PLATFORM_URL").rstrip("/"),
        token=token,
        port=_needed(environment, "PORT"),
        folder=folder,
        heartbeat_seconds=heartbeat_seconds,
    )


def read_config(folder: str) -> object:
    """Return the parsed config.json. Raises BadLaunch."""
    path = f"{folder}/config.json"
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise BadLaunch(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BadLaunch(f"{path} is not valid JSON: {error}.") from error


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise BadLaunch(f"{name} is not set. The program that starts a workspace must set it.")
    return value
