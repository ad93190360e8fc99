"""The simulated backend: what it holds runs nowhere, and `manage.py simulate` plays its agents over HTTP.

All of it stands in files, since the workers that start, look and stop, and the simulator, are processes of this host
that come and go:

<root>/<state>/<workspace_id>.<launch_id>.json    one launch; `state` is running, exited or barred
<root>/ports                                      how many launches were given a port
<root>/lock                                       held by whoever changes something
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, Observation, ProvisionerError
from workspaces.provisioners.logs import TAIL_BYTES
from workspaces.provisioners.simulated.behaviours import InvalidSimulation, parse_simulation

# Nothing listens there: a simulated agent takes no calls.
FIRST_PORT, PORTS = 20_000, 40_000
_PLAYED_VARIABLES = ("PLATFORM_URL", "HEARTBEAT_INTERVAL_SECONDS")


class _State(StrEnum):
    RUNNING = "running"
    EXITED = "exited"
    # Its stop came before its start: it never starts.
    BARRED = "barred"


@dataclass(frozen=True, kw_only=True)
class SimulatedLaunch:
    """One launch as it is kept: what to play, and how far that has come."""

    # Which of its workspace's launches it is; the first is 1.
    attempt: int = 1
    acts_done: int = 0
    # By this host's clock.
    started_at: float = 0.0
    url: str = ""
    token: str = ""
    exit_code: int | None = None
    log: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


class SimulatedProvisioner:
    """Holds simulated launches. Whoever plays one also tells what becomes of it: says, exits, vanishes."""

    name = "simulated"

    def __init__(self, *, root: Path) -> None:
        """The folder is made by the first start; until then nothing is held."""
        self._root = root

    # --- What every backend offers ---------------------------------------------------------------

    def start(self, spec: LaunchSpec) -> Observation:
        """See Provisioner."""
        try:
            parse_simulation(spec.config)
        except InvalidSimulation as error:
            raise ProvisionerError(str(error)) from error
        with self._changing():
            state = self._state(spec.key)
            if state is _State.BARRED:
                raise ProvisionerError("This launch was stopped before it was started.")
            if state is None:
                self._write(spec.key, _State.RUNNING, self._begun(spec))
            return self._seen(spec.key)

    def request_stop(self, key: LaunchKey) -> None:
        """See Provisioner."""
        with self._changing():
            self._end_by_stop(key)

    def stop(self, key: LaunchKey, *, timeout_seconds: float) -> Observation:
        """See Provisioner."""
        with self._changing():
            if self._state(key) is None:
                self._write(key, _State.BARRED, SimulatedLaunch())
            self._end_by_stop(key)
            return self._seen(key)

    def inspect(self, key: LaunchKey) -> Observation:
        """See Provisioner."""
        try:
            with self._reading():
                return self._seen(key)
        except ProvisionerError as error:
            return Observation(state=BackendState.UNKNOWN, detail=str(error))

    def forget(self, key: LaunchKey) -> None:
        """See Provisioner."""
        with self._changing():
            self._refuse_if_running(key)
            self._delete(key)

    def destroy(self, workspace_id: UUID) -> None:
        """See Provisioner."""
        with self._changing():
            keys = [key for state in _State for key in self._keys(state) if key.workspace_id == workspace_id]
            for key in keys:
                self._refuse_if_running(key)
            for key in keys:
                self._delete(key)

    def running_launches(self) -> list[LaunchKey]:
        """See Provisioner."""
        with self._reading():
            return self._keys(_State.RUNNING)

    # --- What becomes of a launch by itself ------------------------------------------------------

    def running_launch(self, key: LaunchKey) -> SimulatedLaunch | None:
        """Return what to play, or None for a launch that doesn't run. Raises ProvisionerError."""
        with self._reading():
            return self._read(key, _State.RUNNING) if self._state(key) is _State.RUNNING else None

    def save_progress(self, key: LaunchKey, *, acts_done: int) -> None:
        """Keep how far the agent has come, so that the next simulator goes on from there."""
        with self._changing():
            self._change(key, acts_done=acts_done)

    def append_log(self, key: LaunchKey, text: str) -> None:
        """Let a launch that runs write to its log, of which the end is kept."""
        with self._changing():
            self._log(key, text)

    def simulate_exit(self, key: LaunchKey, *, exit_code: int | None, log_tail: str = "") -> None:
        """Let a launch that runs end by itself, its last words before; None: nobody learned its code."""
        with self._changing():
            self._log(key, log_tail)
            self._end(key, exit_code=exit_code)

    def simulate_loss(self, key: LaunchKey) -> None:
        """Let the backend lose the launch."""
        with self._changing():
            self._delete(key)

    # --- Under the lock --------------------------------------------------------------------------

    def _seen(self, key: LaunchKey) -> Observation:
        state = self._state(key)
        if state is None or state is _State.BARRED:
            return Observation(state=BackendState.MISSING, detail="No such launch was ever started.")
        launch = self._read(key, state)
        if state is _State.RUNNING:
            return Observation(state=BackendState.RUNNING, url=launch.url, log_tail=launch.log)
        return Observation(state=BackendState.EXITED, exit_code=launch.exit_code, log_tail=launch.log)

    def _begun(self, spec: LaunchSpec) -> SimulatedLaunch:
        attempts = [
            self._read_if_sound(key, state).attempt
            for state in _State
            for key in self._keys(state)
            if key.workspace_id == spec.key.workspace_id
        ]
        return SimulatedLaunch(
            attempt=max(attempts, default=0) + 1,
            started_at=time.time(),
            url=f"http://127.0.0.1:{self._next_port()}",
            token=spec.token,
            # Of its secrets nothing is kept.
            environment={name: spec.environment[name] for name in _PLAYED_VARIABLES if name in spec.environment},
            config=dict(spec.config),
        )

    def _next_port(self) -> int:
        counter = self._root / "ports"
        number = int(counter.read_text()) if counter.exists() else 0
        _replace(counter, str(number + 1))
        return FIRST_PORT + number % PORTS

    def _log(self, key: LaunchKey, text: str) -> None:
        if self._state(key) is _State.RUNNING:
            whole = self._read(key, _State.RUNNING).log + text
            self._change(key, log=whole.encode(errors="replace")[-TAIL_BYTES:].decode(errors="ignore"))

    def _end_by_stop(self, key: LaunchKey) -> None:
        # What was damaged can be stopped too: nothing runs behind the file.
        if self._state(key) is _State.RUNNING:
            self._write(key, _State.RUNNING, self._read_if_sound(key, _State.RUNNING))
        self._end(key, exit_code=0)

    def _end(self, key: LaunchKey, *, exit_code: int | None) -> None:
        if self._state(key) is _State.RUNNING:
            self._change(key, exit_code=exit_code)
            self._path(key, _State.RUNNING).rename(self._path(key, _State.EXITED))

    def _refuse_if_running(self, key: LaunchKey) -> None:
        if self._state(key) is _State.RUNNING:
            raise ProvisionerError(f"Launch {key.launch_id} still runs. Stop it first.")

    # --- Files -----------------------------------------------------------------------------------

    def _state(self, key: LaunchKey) -> _State | None:
        return next((state for state in _State if self._path(key, state).exists()), None)

    def _keys(self, state: _State) -> list[LaunchKey]:
        folder = self._root / state
        return [key for path in sorted(folder.glob("*.json")) if (key := _key_of(path))]

    def _path(self, key: LaunchKey, state: _State) -> Path:
        return self._root / state / f"{key.workspace_id}.{key.launch_id}.json"

    def _read(self, key: LaunchKey, state: _State) -> SimulatedLaunch:
        return SimulatedLaunch(**json.loads(self._path(key, state).read_text()))

    def _read_if_sound(self, key: LaunchKey, state: _State) -> SimulatedLaunch:
        try:
            return self._read(key, state)
        except (ValueError, TypeError):
            return SimulatedLaunch()

    def _change(self, key: LaunchKey, **fields: Any) -> None:
        if self._state(key) is _State.RUNNING:
            self._write(key, _State.RUNNING, replace(self._read(key, _State.RUNNING), **fields))

    def _write(self, key: LaunchKey, state: _State, launch: SimulatedLaunch) -> None:
        _replace(self._path(key, state), json.dumps(asdict(launch)))

    def _delete(self, key: LaunchKey) -> None:
        for state in _State:
            self._path(key, state).unlink(missing_ok=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._explained():
            for state in _State:
                # For us alone: it holds the agents' tokens.
                (self._root / state).mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(fcntl.LOCK_EX):
                yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._explained():
            if not self._root.exists():
                yield
                return
            with self._locked(fcntl.LOCK_SH):
                yield

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, TypeError) as error:
            raise ProvisionerError(f"The simulator's files in {self._root} can't be used: {error}.") from error


def _replace(path: Path, text: str) -> None:
    # A write that breaks off leaves what was there.
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def _key_of(path: Path) -> LaunchKey | None:
    """Return whose file it is, None for one that isn't ours."""
    try:
        workspace_id, launch_id, _ = path.name.split(".")
        return LaunchKey(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id))
    except ValueError:
        return None
