"""What every backend offers.

A backend does not use the database. Its calls may take seconds, so make them outside of transactions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class BackendState(StrEnum):
    """What a backend says about the object (process, container) of one launch."""

    RUNNING = "running"
    EXITED = "exited"
    # The backend answered that it holds no such object.
    MISSING = "missing"
    # The backend could not be asked, or does not know. Unknown is not dead.
    UNKNOWN = "unknown"


# No process of the launch runs any more.
DEAD_STATES = frozenset({BackendState.EXITED, BackendState.MISSING})


@dataclass(frozen=True, kw_only=True)
class LaunchKey:
    """Identifies the object of one launch. It is known before the object exists, so a crash loses no object."""

    workspace_id: UUID
    launch_id: UUID


@dataclass(frozen=True, kw_only=True)
class LaunchSpec:
    """All that a backend needs to start a workspace.

    `environment` is complete except for what only the backend knows: `PORT` and the variables that name folders.
    `config` is the effective configuration as a plain dict. The backend writes it as config.yaml and config.json for
    the agent, with its own port in `a2a.port`. `files` are copied beside it, by their relative path with `/`.
    """

    key: LaunchKey
    environment: Mapping[str, str]
    config: Mapping[str, object]
    token: str
    start_timeout_seconds: float
    # The model that the create request names. It may have required variables of its own.
    model: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A backend's answer about one launch. `exit_code` is negative for a signal and None if it is not known."""

    state: BackendState
    exit_code: int | None = None
    log_tail: str = ""
    url: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """A part of a launch's log. `start` and `end` count the bytes that were written before; `size` all of them."""

    start: int
    data: bytes
    size: int

    @property
    def end(self) -> int:
        return self.start + len(self.data)


def describe_exit(exit_code: int | None) -> str:
    """Describe how a process ended: `exited with status 3`, `was killed by signal 9`."""
    if exit_code is None:
        return "ended with an unknown exit status"
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited with status {exit_code}"


class ProvisionerError(Exception):
    """The backend refused a call or failed. The message says what happened and what to do."""


class Provisioner(Protocol):
    """An adapter to one kind of backend."""

    name: str

    def start(self, spec: LaunchSpec) -> Observation:
        """Start the launch's object, or return the one that it already started. Raises ProvisionerError."""

    def request_stop(self, key: LaunchKey) -> None:
        """Ask the object to end (SIGTERM) and return at once. A missing object is not an error."""

    def stop(self, key: LaunchKey, *, timeout_seconds: float) -> Observation:
        """End the object, by force after the timeout, and return what an inspection says afterwards.

        A launch that was not started yet can't be started any more: a later `start` raises ProvisionerError.
        """

    def inspect(self, key: LaunchKey, *, with_log: bool = True) -> Observation:
        """Return the state of the object without changing it: UNKNOWN if the backend can't be asked. Raises nothing.

        Without `with_log` the log of a running object may be left out, since reading it takes time.
        """

    def read_log(self, key: LaunchKey, *, offset: int, most: int) -> LogPart:
        """Return at most `most` bytes of a launch's log from an offset on, or from what is still kept of it.

        An empty part at the offset if there is no log. Raises ProvisionerError.
        """

    def log_size(self, key: LaunchKey) -> int | None:
        """Return how many bytes a launch has written to its log, also those that aren't kept any more.

        None if there is no log. An agent waits for the answer of its registration meanwhile. Raises ProvisionerError.
        """

    def forget(self, key: LaunchKey) -> None:
        """Delete what an ended launch left behind: its folder, not the workspace's own data."""

    def destroy(self, workspace_id: UUID) -> None:
        """Delete all files of a workspace. Raises ProvisionerError while one of its launches runs or may run."""

    def running_launches(self) -> list[LaunchKey]:
        """Return the keys of all objects that run here, also unknown ones. Raises ProvisionerError."""
