"""What every backend offers. Nothing here knows the database; all calls may take seconds and are made outside of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class BackendState(StrEnum):
    """What a backend says of one launch's object."""

    RUNNING = "running"
    EXITED = "exited"
    # The backend answered that it holds no such object.
    MISSING = "missing"
    # The backend could not be asked, or can't know. Unknown is not dead.
    UNKNOWN = "unknown"


# No process of the launch runs any more.
DEAD_STATES = frozenset({BackendState.EXITED, BackendState.MISSING})


@dataclass(frozen=True, kw_only=True)
class LaunchKey:
    """Names one launch's object at a backend; known before the object is made, so that a crash loses nothing."""

    workspace_id: UUID
    launch_id: UUID


@dataclass(frozen=True, kw_only=True)
class LaunchSpec:
    """All that a backend needs to start a workspace.

    `environment` is complete but for what only the backend knows (`PORT`, the folder variables).
    `config` is the effective configuration as a plain dict; the backend writes it beside the agent
    as config.yaml and config.json with its own port in `a2a.port`.
    """

    key: LaunchKey
    environment: Mapping[str, str]
    config: Mapping[str, object]
    token: str
    start_timeout_seconds: float
    # The model asked for at creation; it may have required variables of its own.
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A backend's answer about one launch. `exit_code` is negative for a signal, None where not known."""

    state: BackendState
    exit_code: int | None = None
    log_tail: str = ""
    url: str = ""
    detail: str = ""


def describe_exit(exit_code: int | None) -> str:
    """Return how a process ended, in words: `exited with status 3`, `was killed by signal 9`."""
    if exit_code is None:
        return "ended, its exit status unknown,"
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited with status {exit_code}"


class ProvisionerError(Exception):
    """The backend refused or failed; the message says what happened and what to do."""


class Provisioner(Protocol):
    """An adapter to one kind of backend."""

    name: str

    def start(self, spec: LaunchSpec) -> Observation:
        """Start the workspace's object, or find the one that this launch already started. Raises ProvisionerError."""

    def request_stop(self, key: LaunchKey) -> None:
        """Ask the object to end (TERM) and return at once; a missing one is no error."""

    def stop(self, key: LaunchKey, *, timeout_seconds: float) -> Observation:
        """End the object, by force after the timeout, and return what an inspection then says.

        A launch that was not started yet never will be: a start that comes later raises ProvisionerError.
        """

    def inspect(self, key: LaunchKey) -> Observation:
        """Look without touching. Never raises for a backend that can't be asked: that is UNKNOWN."""

    def forget(self, key: LaunchKey) -> None:
        """Delete what a launch that is gone left behind (its folder, not the workspace's own data)."""

    def destroy(self, workspace_id: UUID) -> None:
        """Delete all files of a workspace. Raises ProvisionerError while any of its launches runs or may run."""

    def running_launches(self) -> list[LaunchKey]:
        """Name the objects that are alive here, whoever knows of them. Raises ProvisionerError."""
