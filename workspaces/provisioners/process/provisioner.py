"""The process backend: each workspace is a supervisor and an agent on this host, without isolation."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from agent import rules
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, Observation, ProvisionerError
from workspaces.provisioners.files import delete_tree
from workspaces.provisioners.logs import tail_of
from workspaces.provisioners.process import cgroups, processes
from workspaces.provisioners.process.folders import LaunchFolder, Record, launches, this_host
from workspaces.provisioners.process.locks import is_locked, locked, reserved_port
from workspaces.provisioners.process.processes import Process, Seen

SUPERVISOR = Path(__file__).with_name("supervisor.py")
POLL_SECONDS = 0.02
# A supervisor records the exit code at once. This is enough on a very busy host; only a stopped one takes longer.
EXIT_RECORD_SECONDS = 3.0
# After KILL a process is gone, unless it waits in the kernel.
KILL_SECONDS = 5.0
# The supervisor must encode texts as the worker does.
_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")
# The limits of `execve` for one variable and for all of them.
_MOST_BYTES_OF_ONE, _MOST_BYTES = 128 * 1024, os.sysconf("SC_ARG_MAX")


class ProcessProvisioner:
    """Starts, finds and ends the processes of launches, by the records of their supervisors under `root`."""

    name = "process"

    def __init__(
        self,
        *,
        root: Path,
        log_bytes: int,
        inherited: Mapping[str, str],
        cgroup: Path | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """`inherited` is the part of Slipway's own environment that every workspace gets, such as PATH.

        Each launch gets a cgroup below `cgroup`, if that is allowed, with these `limits` by file name: `memory.max` in
        bytes, `pids.max`. Without a cgroup its processes are found as descendants of its supervisor.
        """
        self._root, self._log_bytes, self._inherited = root, log_bytes, dict(inherited)
        self._cgroup, self._limits = cgroup, dict(limits or {})

    def start(self, spec: LaunchSpec) -> Observation:
        """Start the agent, or find what this launch started before, running or ended. Raises ProvisionerError."""
        folder = LaunchFolder(self._root, spec.key)
        deadline = time.monotonic() + spec.start_timeout_seconds
        with _explained("The workspace's process could not be started"):
            folder.make()
            while True:
                with locked(folder.lock) as lock:
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
        folder = LaunchFolder(self._root, key)
        with _explained("The workspace's process could not be asked to stop"):
            if _absence(folder.record()) is None:
                self._ask_to_end(folder)

    def stop(self, key: LaunchKey, *, timeout_seconds: float) -> Observation:
        """End the agent and everything that it started, by force after the timeout; look again and return that."""
        folder = LaunchFolder(self._root, key)
        with _explained("The workspace's process could not be stopped"):
            record = _readable(folder)
            if record is None:
                folder.bar()
            if _absence(record) is not None:
                return self.inspect(key)
            asked = self._ask_to_end(folder)
            _wait_for_end(asked, timeout_seconds)
            if left := self._kill(folder):
                pids = ", ".join(str(process.pid) for process in left)
                return Observation(state=BackendState.RUNNING, detail=f"Not even KILL ended the processes {pids}.")
        return self.inspect(key)

    def inspect(self, key: LaunchKey) -> Observation:
        """Return the state of the launch's process: UNKNOWN if it can't be read or known. Never raises."""
        try:
            return self._look(LaunchFolder(self._root, key))
        except (OSError, ValueError) as error:
            return Observation(state=BackendState.UNKNOWN, detail=f"The launch's record can't be read: {error}.")

    def forget(self, key: LaunchKey) -> None:
        """Delete a launch's folder. Raises ProvisionerError while any of its processes runs."""
        folder = LaunchFolder(self._root, key)
        with _explained("The launch's folder could not be deleted"):
            self._refuse_if_running(folder)
            delete_tree(folder.path)

    def destroy(self, workspace_id: UUID) -> None:
        """Delete all files of a workspace. Raises ProvisionerError while any of its launches runs or may run."""
        with _explained("The workspace's files could not be deleted"):
            for folder in launches(self._root, str(workspace_id)):
                if (seen := self.inspect(folder.key)).state is BackendState.UNKNOWN:
                    raise ProvisionerError(f"Launch {folder.key.launch_id} may still run. {seen.detail}")
                self._refuse_if_running(folder)
            delete_tree(self._root / str(workspace_id))

    def running_launches(self) -> list[LaunchKey]:
        """Return the launches that have a living process."""
        with _explained("This host's processes could not be listed"):
            seen = processes.look()
            return [folder.key for folder in launches(self._root) if any(self._members(folder, seen))]

    def _refuse_if_running(self, folder: LaunchFolder) -> None:
        if any(self._members(folder)) or is_locked(folder.lock):
            raise ProvisionerError(f"Launch {folder.key.launch_id} still runs. Stop it first.")

    # --- start -----------------------------------------------------------------------------------------

    def _spawn(self, folder: LaunchFolder, spec: LaunchSpec, lock: int, deadline: float) -> None:
        """Start the supervisor and wait until its record is complete."""
        locale = {name: os.environ[name] for name in _LOCALE if name in os.environ}
        with reserved_port(self._root / ".ports") as (port, port_lock):
            task = self._prepare(folder, spec, port)
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", *_command(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                # Without the workspace's variables, since the loader obeys some of them.
                env={**self._inherited, **locale, **_names(folder)},
                pass_fds=(lock, port_lock),
            )
        try:
            said, _ = process.communicate(json.dumps(task).encode(), timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill(folder)
            process.communicate()
            said = f"it took longer than {spec.start_timeout_seconds} s".encode()
        if said or folder.record() is None:
            why = said.decode(errors="replace").strip()[-500:] or "its supervisor was killed"
            raise ProvisionerError(f"The workspace's process could not be started: {why}.")

    def _prepare(self, folder: LaunchFolder, spec: LaunchSpec, port: int) -> dict[str, object]:
        """Write the configuration, make the cgroup and return the supervisor's task."""
        config = rules.effective(spec.config, port=port, environment=spec.environment, model=spec.model)
        folder.write_config(config, token=spec.token)
        own = {"PORT": str(port), "HOME": str(folder.work), **_names(folder)}
        environment = {**self._inherited, **spec.environment, **own}
        lengths = [len(os.fsencode(f"{name}={value}")) for name, value in environment.items()]
        if max(lengths) >= _MOST_BYTES_OF_ONE or sum(lengths) >= _MOST_BYTES:
            # The agent could start with such an environment, but none of its boot steps could.
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        cgroup = folder.cgroup(self._cgroup) if self._cgroup else None
        return {
            "work": str(folder.work),
            "environment": environment,
            "log_bytes": self._log_bytes,
            "cgroup": str(cgroup) if cgroup and cgroups.make(cgroup, self._limits) else "",
            "record": {"host": this_host()._asdict(), "port": port},
        }

    # --- inspect ---------------------------------------------------------------------------------------

    def _look(self, folder: LaunchFolder) -> Observation:
        if not folder.path.exists():
            return Observation(state=BackendState.MISSING, detail="No such launch was ever started here.")
        record = folder.record()
        if record is None and is_locked(folder.lock):
            return Observation(state=BackendState.UNKNOWN, detail="The launch is just being started.")
        if record is None:
            return Observation(state=BackendState.MISSING, detail="The launch was prepared, but nothing was started.")
        if folder.exit() is not None:
            return _exited(folder)
        return _absence(record) or _look_at_agent(folder, record)

    # --- stop ------------------------------------------------------------------------------------------

    def _members(self, folder: LaunchFolder, seen: list[Seen] | None = None) -> tuple[list[Process], list[Process]]:
        """Return the launch's supervisor, found by its command line, and its other living processes.

        If the supervisor was killed, the others are the processes in its cgroup and session, and their descendants.
        """
        seen = processes.look() if seen is None else seen
        record = _readable(folder)
        leader = record.supervisor if record is not None and _absence(record) is None else None
        # The agent has the same command line, since it is a fork, but it does not lead a session.
        leads = {each.pid: each.session == each.pid for each in seen if each.command[-2:] == _command(folder)}
        cgroup = self._cgroup_of(folder)
        members = processes.family(seen, {*leads, *(cgroups.pids(cgroup) if cgroup else ())}, leader=leader)
        supervisors = [each for each in members if leads.get(each.pid)]
        return supervisors, [each for each in members if each not in supervisors]

    def _cgroup_of(self, folder: LaunchFolder) -> Path | None:
        record = _readable(folder)
        if record is not None and record.cgroup is not None:
            return record.cgroup
        return folder.cgroup(self._cgroup) if self._cgroup else None

    def _ask_to_end(self, folder: LaunchFolder) -> list[Process]:
        """Send TERM to the supervisor, which passes it on, or to all if it was killed. Return who was asked."""
        record = _readable(folder)
        # Usually the record is right, and its process's command line confirms that: no need to look at all processes.
        if record is not None and processes.command_of(record.supervisor)[-2:] == _command(folder):
            asked = [record.supervisor]
        else:
            supervisors, others = self._members(folder)
            asked = supervisors or others
        processes.signal_all(asked, signal.SIGTERM)
        return asked

    def _kill(self, folder: LaunchFolder) -> list[Process]:
        """Kill all processes and return those that are left. The supervisor kills its children, too, and then ends."""
        deadline = time.monotonic() + KILL_SECONDS
        while any(members := self._members(folder)) and time.monotonic() < deadline:
            supervisors, others = members
            if cgroup := self._cgroup_of(folder):
                cgroups.kill(cgroup)
            processes.signal_all(supervisors, signal.SIGQUIT)
            processes.signal_all(others, signal.SIGKILL)
            _wait_for_end(supervisors or others, EXIT_RECORD_SECONDS)
            if not others:
                processes.signal_all(supervisors, signal.SIGKILL)
        if cgroup := self._cgroup_of(folder):
            cgroups.remove(cgroup)
        return [*members[0], *members[1]]


def _command(folder: LaunchFolder) -> list[str]:
    """Return the end of a supervisor's command line, by which it is found."""
    return [str(SUPERVISOR), str(folder.path)]


def _names(folder: LaunchFolder) -> dict[str, str]:
    """Return the variables that show in `ps e` which launch a process belongs to."""
    ids = {"LAUNCH_ID": str(folder.key.launch_id), "WORKSPACE_ID": str(folder.key.workspace_id)}
    return {**ids, "WORKSPACE_CONFIG_PATH": str(folder.config), "CONFIGS_DIR": str(folder.config)}


def _readable(folder: LaunchFolder) -> Record | None:
    """Return the record, or None if it can't be read, since an agent may have replaced it."""
    try:
        return folder.record()
    except (OSError, ValueError):
        return None


def _absence(record: Record | None) -> Observation | None:
    """Return why the recorded pids are not valid here, or None if they are."""
    here = this_host()
    if record is None or record.host == here:
        return None
    # Compare both: machine IDs are copied with images, and hostnames are not unique.
    if (here.machine_id, here.hostname) != (record.host.machine_id, record.host.hostname):
        where = f"on another host, {record.host.hostname},"
    elif here.boot_id != record.host.boot_id:
        return Observation(state=BackendState.MISSING, detail="This host was booted again since the launch.")
    else:
        where = "in another container of this host"
    return Observation(state=BackendState.UNKNOWN, detail=f"The launch runs {where} and can only be seen from there.")


def _look_at_agent(folder: LaunchFolder, record: Record) -> Observation:
    if processes.is_alive(record.agent):
        url = f"http://127.0.0.1:{record.port}"
        return Observation(state=BackendState.RUNNING, url=url, log_tail=tail_of(folder.log))
    # The agent stays a zombie until its supervisor has recorded the exit.
    deadline = time.monotonic() + EXIT_RECORD_SECONDS
    while processes.is_zombie(record.agent) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return _exited(folder)


def _exited(folder: LaunchFolder) -> Observation:
    fields = folder.exit() or {}
    code = fields.get("exit_code")
    names = [name for name in ("memory.peak", "pids.peak") if type(fields.get(name)) is int]
    detail = ", ".join(f"{name} {fields[name]}" for name in names)
    if type(code) is not int or abs(code) > 255:
        code, detail = None, "The exit code is not known: the process that records it was ended too."
    return Observation(state=BackendState.EXITED, exit_code=code, log_tail=tail_of(folder.log), detail=detail)


def _wait_for_end(members: list[Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(processes.is_alive, members)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn errors of the system into messages for operators."""
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise ProvisionerError(f"{what}: {error.strerror or error}{place}.") from error
    except ValueError as error:
        raise ProvisionerError(f"{what}: {error}.") from error
