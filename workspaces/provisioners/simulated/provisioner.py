"""The simulated backend: its launches run nowhere, and `manage.py simulate` plays their agents over HTTP.

Everything is kept in files, because workers and the simulator are processes of this host that come and go:

<root>/<state>/<workspace_id>.<launch_id>.json    one launch; `state` is running, exited or barred
<root>/ports                                      how many launches were given a port
<root>/lock                                       held by the process that reads or changes something
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from agent.texts import last_characters
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, LogPart, Observation, ProvisionerError
from workspaces.provisioners.simulated.behaviours import InvalidSimulation, parse_simulation

# Nothing listens on these ports, because a simulated agent takes no calls.
FIRST_PORT, PORTS = 20_000, 40_000
# More than what is kept of it and the longest secret.
_MOST_LOG_CHARACTERS = 131_072
_PLAYED_VARIABLES = ("PLATFORM_URL", "HEARTBEAT_INTERVAL_SECONDS")


class _State(StrEnum):
    RUNNING = "running"
    EXITED = "exited"
    # Stopped before it was started, so it never starts.
    BARRED = "barred"


@dataclass(frozen=True, kw_only=True)
class SimulatedLaunch:
    """One launch as its file holds it: what to play, and how far the agent has come."""

    # The number of the launch among those of its workspace, from 1.
    attempt: int = 1
    acts_done: int = 0
    # Seconds since the epoch, by the clock of this host.
    started_at: float = 0.0
    url: str = ""
    token: str = ""
    exit_code: int | None = None
    log: str = ""
    # How many bytes of the log are not kept any more.
    log_start: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


class SimulatedProvisioner:
    """Keeps simulated launches. The simulator or a test decides what happens to them."""

    name = "simulated"

    def __init__(self, *, root: Path) -> None:
        """The first start creates the folder; until then there are no launches."""
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
                self._write(spec.key, _State.RUNNING, self._new_launch(spec))
            return self._observe(spec.key)

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
            return self._observe(key)

    def inspect(self, key: LaunchKey, *, with_log: bool = True) -> Observation:
        """See Provisioner."""
        try:
            with self._reading():
                return self._observe(key)
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

    # --- What the simulator does -----------------------------------------------------------------

    def running_launch(self, key: LaunchKey) -> SimulatedLaunch | None:
        """Return a launch to play, or None if it does not run. Raises ProvisionerError."""
        with self._reading():
            return self._read(key, _State.RUNNING) if self._state(key) is _State.RUNNING else None

    def save_progress(self, key: LaunchKey, *, acts_done: int) -> None:
        """Store how many actions the agent has done, so that the next simulator continues from there."""
        with self._changing():
            self._change(key, acts_done=acts_done)

    def read_log(self, key: LaunchKey, *, offset: int, most: int) -> LogPart:
        """See Provisioner."""
        with self._reading():
            state = self._state(key)
            if state is None or state is _State.BARRED:
                return LogPart(start=offset, data=b"", size=offset)
            launch = self._read(key, state)
            whole = launch.log.encode()
            size = launch.log_start + len(whole)
            start = min(max(offset, launch.log_start), size)
            data = whole[start - launch.log_start :][:most]
            return LogPart(start=start, data=data, size=size)

    def log_size(self, key: LaunchKey) -> int | None:
        """See Provisioner."""
        with self._reading():
            state = self._state(key)
            if state is None or state is _State.BARRED:
                return None
            launch = self._read(key, state)
            return launch.log_start + len(launch.log.encode())

    def append_log(self, key: LaunchKey, text: str) -> None:
        """Append to the log of a running launch, which keeps its last 128 KiB."""
        with self._changing():
            self._log(key, text)

    def simulate_exit(self, key: LaunchKey, *, exit_code: int | None, log_tail: str = "") -> None:
        """Let a running launch end by itself after writing `log_tail`. The code is None if it is not known."""
        with self._changing():
            self._log(key, log_tail)
            self._end(key, exit_code=exit_code)

    def simulate_loss(self, key: LaunchKey) -> None:
        """Let the backend lose a launch."""
        with self._changing():
            self._delete(key)

    # --- Under the lock --------------------------------------------------------------------------

    def _observe(self, key: LaunchKey) -> Observation:
        state = self._state(key)
        if state is None or state is _State.BARRED:
            return Observation(state=BackendState.MISSING, detail="No such launch was ever started.")
        launch = self._read(key, state)
        if state is _State.RUNNING:
            return Observation(state=BackendState.RUNNING, url=launch.url, log_tail=launch.log)
        return Observation(state=BackendState.EXITED, exit_code=launch.exit_code, log_tail=launch.log)

    def _new_launch(self, spec: LaunchSpec) -> SimulatedLaunch:
        attempts = [
            self._read_if_sound(key, state).attempt
            for state in _State
            for key in self._keys(state)
            if key.workspace_id == spec.key.workspace_id
        ]
        counter = self._root / "ports"
        number = int(counter.read_text()) if counter.exists() else 0
        _replace(counter, str(number + 1))
        return SimulatedLaunch(
            attempt=max(attempts, default=0) + 1,
            started_at=time.time(),
            url=f"http://127.0.0.1:{FIRST_PORT + number % PORTS}",
            token=spec.token,
            # Store no secrets.
            environment={name: spec.environment[name] for name in _PLAYED_VARIABLES if name in spec.environment},
            config=dict(spec.config),
        )

    def _log(self, key: LaunchKey, text: str) -> None:
        if self._state(key) is _State.RUNNING:
            launch = self._read(key, _State.RUNNING)
            whole = (launch.log + text).encode(errors="replace").decode()
            kept = last_characters(whole, _MOST_LOG_CHARACTERS)
            self._change(key, log=kept, log_start=launch.log_start + len(whole.encode()) - len(kept.encode()))

    def _end_by_stop(self, key: LaunchKey) -> None:
        # A damaged file can be stopped too, because no process stands behind it.
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
        keys = []
        for path in sorted((self._root / state).glob("*.json")):
            # Other files are not ours.
            with suppress(ValueError):
                workspace_id, launch_id, _ = path.name.split(".")
                keys.append(LaunchKey(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id)))
        return keys

    def _path(self, key: LaunchKey, state: _State) -> Path:
        return self._root / state / f"{key.workspace_id}.{key.launch_id}.json"

    def _read(self, key: LaunchKey, state: _State) -> SimulatedLaunch:
        return SimulatedLaunch(**json.loads(self._path(key, state).read_text()))

    def _read_if_sound(self, key: LaunchKey, state: _State) -> SimulatedLaunch:
        try:
            return self._read(key, state)
        except (ValueError, TypeError, RecursionError):
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
        with self._wrap_errors():
            for state in _State:
                # For this user alone, because the files hold the agents' tokens.
                (self._root / state).mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(fcntl.LOCK_EX):
                yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._wrap_errors():
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
    def _wrap_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise ProvisionerError(f"The simulator's files in {self._root} can't be used: {error}.") from error


def _replace(path: Path, text: str) -> None:
    # An interrupted write leaves the old file.
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
