"""The process backend: workspaces are processes of this host, one shim and one agent each. It isolates nothing."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from agent import rules
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, Observation, ProvisionerError
from workspaces.provisioners.logs import tail_of
from workspaces.provisioners.process import processes, shims
from workspaces.provisioners.process.folders import LaunchFolder, Record, delete_tree
from workspaces.provisioners.process.ports import reserved_port
from workspaces.provisioners.process.processes import Process

POLL_SECONDS = 0.02
# A shim writes the exit code at once, on a host that hardly runs within this; only a stopped one takes longer.
EXIT_RECORD_SECONDS = 3.0
# After KILL a process is gone unless the kernel holds it.
KILL_SECONDS = 5.0


class ProcessProvisioner:
    """Starts, finds and ends the processes of launches, by what their shims wrote down under `root`."""

    name = "process"

    def __init__(self, *, root: Path, log_bytes: int, inherited: Mapping[str, str]) -> None:
        """`inherited` is what every workspace's process gets of our own environment: PATH and the like."""
        self._root = root
        self._log_bytes = log_bytes
        self._inherited = dict(inherited)

    def start(self, spec: LaunchSpec) -> Observation:
        """Start the agent, or find what this launch started before, running or ended. Raises ProvisionerError."""
        folder = LaunchFolder.of(self._root, spec.key)
        deadline = time.monotonic() + spec.start_timeout_seconds
        with _explained("The workspace's process could not be started"):
            folder.make()
            while True:
                with folder.locked() as lock:
                    if folder.record() is not None:
                        return self.inspect(spec.key)
                    if folder.is_barred():
                        raise ProvisionerError("This launch was stopped before it was started.")
                    if lock is not None:
                        self._spawn(folder, spec, lock, deadline)
                        return self.inspect(spec.key)
                if time.monotonic() > deadline:
                    raise ProvisionerError("Another worker is starting this launch and does not finish.")
                time.sleep(POLL_SECONDS)

    def request_stop(self, key: LaunchKey) -> None:
        """Send TERM to the agent, which ends its runtime and itself. Returns at once."""
        folder = LaunchFolder.of(self._root, key)
        with _explained("The workspace's process could not be asked to stop"):
            if _absence(folder.record()) is None:
                _ask(folder.record(), self._members(folder))

    def stop(self, key: LaunchKey, *, timeout_seconds: float) -> Observation:
        """End the agent and everything that it started, by force after the timeout; look again and return that."""
        folder = LaunchFolder.of(self._root, key)
        with _explained("The workspace's process could not be stopped"):
            if folder.record() is None:
                folder.bar()
            if _absence(folder.record()) is not None:
                return self.inspect(key)
            self._end(folder, time.monotonic() + timeout_seconds)
            self._kill(folder)
            if left := self._members(folder):
                pids = ", ".join(str(process.pid) for process in left)
                return Observation(state=BackendState.RUNNING, detail=f"Not even KILL ended the processes {pids}.")
        return self.inspect(key)

    def inspect(self, key: LaunchKey) -> Observation:
        """Say what the launch's process does now. What can't be known or read is UNKNOWN, never an error."""
        folder = LaunchFolder.of(self._root, key)
        try:
            return self._look(folder)
        except (OSError, ValueError) as error:
            return Observation(state=BackendState.UNKNOWN, detail=f"The launch's record can't be read: {error}.")

    def forget(self, key: LaunchKey) -> None:
        """Delete a launch's folder. Raises ProvisionerError while any of its processes runs."""
        folder = LaunchFolder.of(self._root, key)
        with _explained("The launch's folder could not be deleted"):
            self._refuse_if_running(folder)
            delete_tree(folder.path)

    def destroy(self, workspace_id: UUID) -> None:
        """Delete all files of a workspace. Raises ProvisionerError while any of its launches runs or may run."""
        workspace = self._root / str(workspace_id)
        with _explained("The workspace's files could not be deleted"):
            for folder in LaunchFolder.all_in(workspace):
                if (seen := self._look(folder)).state is BackendState.UNKNOWN:
                    raise ProvisionerError(f"Launch {folder.launch_id} may still run. {seen.detail}")
                self._refuse_if_running(folder)
            delete_tree(workspace)

    def running_launches(self) -> list[LaunchKey]:
        """Name the launches of which a process is alive, by the folders that their environments point to."""
        with _explained("This host's processes could not be listed"):
            folders = processes.values_of("CONFIGS_DIR")
        keys = (LaunchFolder.key_of(self._root, Path(folder)) for folder in sorted(folders))
        return [key for key in keys if key is not None]

    def _refuse_if_running(self, folder: LaunchFolder) -> None:
        if self._members(folder) or folder.is_locked():
            raise ProvisionerError(f"Launch {folder.launch_id} still runs. Stop it first.")

    # --- start -----------------------------------------------------------------------------------------

    def _spawn(self, folder: LaunchFolder, spec: LaunchSpec, lock: int, deadline: float) -> None:
        with reserved_port(self._root / ".ports") as reservation:
            config = rules.effective(spec.config, port=reservation.port, environment=spec.environment, model=spec.model)
            folder.write_config(config, token=spec.token)
            complaint = self._run_shim(folder, spec, (lock, reservation.descriptor), reservation.port, deadline)
        if complaint or folder.record() is None:
            why = complaint or "its shim was killed; if each launch ends so, the worker's log says why"
            raise ProvisionerError(f"The workspace's process could not be started: {why}.")

    def _run_shim(
        self, folder: LaunchFolder, spec: LaunchSpec, held: tuple[int, ...], port: int, deadline: float
    ) -> str:
        """Start the shim and wait until its record is complete; return its complaint."""
        record = {"host": processes.this_host()._asdict(), "port": port, "log": str(folder.log)}
        task = {
            "folder": str(folder.path),
            "work": str(folder.work),
            "parameters": {"log_bytes": self._log_bytes, "record": record},
            "environment": self._environment(folder, spec, port),
        }
        try:
            seconds = max(0.1, deadline - time.monotonic())
            return shims.start(task, held=held, seconds=seconds, inherited=self._inherited)[-500:]
        except TimeoutError:
            shims.end_forker()
            self._kill(folder)
            return f"it took longer than {spec.start_timeout_seconds} s"

    def _environment(self, folder: LaunchFolder, spec: LaunchSpec, port: int) -> dict[str, str]:
        config = str(folder.config)
        own = {"PORT": str(port), "WORKSPACE_CONFIG_PATH": config, "CONFIGS_DIR": config, "HOME": str(folder.work)}
        # By this name a launch's processes are found again, wherever they went.
        return {**self._inherited, **spec.environment, **own, "LAUNCH_ID": str(spec.key.launch_id)}

    # --- inspect ---------------------------------------------------------------------------------------

    def _look(self, folder: LaunchFolder) -> Observation:
        if not folder.path.exists():
            return Observation(state=BackendState.MISSING, detail="No such launch was ever started here.")
        record = folder.record()
        if record is None and folder.is_locked():
            return Observation(state=BackendState.UNKNOWN, detail="The launch is just being started.")
        if record is None:
            return Observation(state=BackendState.MISSING, detail="The launch was prepared, but nothing was started.")
        if folder.exit_code() is not None:
            return _exited(folder)
        return _absence(record) or self._look_at_processes(folder, record)

    def _look_at_processes(self, folder: LaunchFolder, record: Record) -> Observation:
        if processes.is_alive(record.child):
            return self._running(folder, record)
        _wait_while(lambda: folder.exit_code() is None and processes.is_alive(record.shim), EXIT_RECORD_SECONDS)
        return _exited(folder)

    def _running(self, folder: LaunchFolder, record: Record) -> Observation:
        url = f"http://127.0.0.1:{record.port}"
        return Observation(state=BackendState.RUNNING, url=url, log_tail=tail_of(folder.log))

    # --- stop ------------------------------------------------------------------------------------------

    def _members(self, folder: LaunchFolder) -> list[Process]:
        record = folder.record()
        leader = record.shim if record is not None and _absence(record) is None else None
        return processes.carrying(folder.launch_id, session_of=leader)

    def _end(self, folder: LaunchFolder, deadline: float) -> None:
        """Ask the agent to end, then whatever it left behind, each process once, until the deadline."""
        asked: set[Process] = set()
        while (members := self._members(folder)) and time.monotonic() < deadline:
            asked |= _ask(folder.record(), [process for process in members if process not in asked])
            _wait_for_one_to_end(members, deadline)

    def _kill(self, folder: LaunchFolder) -> None:
        """Kill all; the shim last and only if it lingers, since it records the exit code."""
        deadline = time.monotonic() + KILL_SECONDS
        while (members := self._members(folder)) and time.monotonic() < deadline:
            record = folder.record()
            others = [process for process in members if record is None or process != record.shim]
            processes.signal_all(others, signal.SIGKILL)
            _wait_for_one_to_end(members, time.monotonic() + EXIT_RECORD_SECONDS)
            if not others:
                processes.signal_all(members, signal.SIGKILL)


def _ask(record: Record | None, members: list[Process]) -> set[Process]:
    """Send TERM to the agent if it is among the members, to all of them if it is gone; return who was asked."""
    agent = record.child if record is not None else None
    asked = [agent] if agent in members and agent is not None else members
    processes.signal_all(asked, signal.SIGTERM)
    return set(asked)


def _absence(record: Record | None) -> Observation | None:
    """Say why the recorded pids mean nothing here and now, or None if they do."""
    if record is None:
        return None
    here = processes.this_host()
    if not here.is_same_machine(record.host):
        detail = f"The launch runs on another host, {record.host.hostname}, and can only be seen from there."
        return Observation(state=BackendState.UNKNOWN, detail=detail)
    if here.boot_id != record.host.boot_id:
        return Observation(state=BackendState.MISSING, detail="This host was booted again since the launch.")
    if here.pid_namespace != record.host.pid_namespace:
        detail = "The launch runs in another container of this host and can only be seen from there."
        return Observation(state=BackendState.UNKNOWN, detail=detail)
    return None


def _exited(folder: LaunchFolder) -> Observation:
    code = folder.exit_code()
    detail = "" if code is not None else "The exit code is not known: the process that records it was ended too."
    return Observation(state=BackendState.EXITED, exit_code=code, log_tail=tail_of(folder.log), detail=detail)


def _wait_for_one_to_end(members: list[Process], deadline: float) -> None:
    _wait_while(lambda: all(map(processes.is_alive, members)), deadline - time.monotonic())


def _wait_while(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and holds():
        time.sleep(POLL_SECONDS)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what the system refuses into a sentence for an operator."""
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise ProvisionerError(f"{what}: {error.strerror or error}{place}.") from error
    except ValueError as error:
        raise ProvisionerError(f"{what}: {error}.") from error
