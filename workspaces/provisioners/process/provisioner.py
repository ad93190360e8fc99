"""The process backend: each workspace is a supervisor and an agent on this host, as Slipway's user."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import psutil

from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, LogPart, Observation, ProvisionerError
from workspaces.provisioners.files import delete_tree, describe_error
from workspaces.provisioners.host_processes import find_process, is_alive, signal_all, wait_until, wait_until_gone
from workspaces.provisioners.logs import part_of, size_of, tail_of
from workspaces.provisioners.process import cgroups, fork_server, supervisor
from workspaces.provisioners.process.folders import (
    RECORDS,
    Containment,
    LaunchFolder,
    ProcessSettings,
    launches,
    locked,
    this_host,
)
from workspaces.provisioners.process.members import Members, Seen, leads, look, may_be_killed, members
from workspaces.provisioners.process.records import Exit, Host, Record, exit_of, readable_record_of, record_of

# A supervisor records the exit code at once. This is enough on a very busy host; only a stopped one takes longer.
EXIT_RECORD_SECONDS = 3.0
# So long a supervisor may take to end all others, before it is killed itself.
QUIT_SECONDS = 1.5
# After KILL a process is gone, unless it waits in the kernel.
KILL_SECONDS = 5.0


class ProcessProvisioner:
    """Starts, finds and ends the processes of launches, by the records of their supervisors."""

    name = "process"

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings, self._root = settings, settings.root

    def prepare(self) -> None:
        """Start the fork server. A worker with threads calls this before it starts them."""
        fork_server.start(self._settings.inherited)

    def start(self, spec: LaunchSpec) -> Observation:
        """Start the agent, or find what this launch started before, running or ended. Raises ProvisionerError."""
        folder = LaunchFolder(self._root, spec.key)
        what = "The workspace's process could not be started"
        deadline = time.monotonic() + spec.start_timeout_seconds
        with _explained(what):
            # Through a fork server's socket an agent could run what it likes outside of its namespace.
            settings = replace(self._settings, hidden=(*self._settings.hidden, fork_server.socket_folder()))
            folder.make_records()
            while record_of(folder) is None:
                left = max(0.1, deadline - time.monotonic())
                try:
                    answer = fork_server.call(
                        supervisor.detach,
                        settings,
                        spec,
                        inherited=self._settings.inherited,
                        timeout_seconds=left,
                    )
                except TimeoutError:
                    self._kill(folder)
                    answer = f"it took longer than {spec.start_timeout_seconds} s"
                except EOFError:
                    answer = "its supervisor ended; the worker's log may tell why"
                except fork_server.ForkServerEnded as error:
                    answer = str(error)
                if answer == supervisor.STARTED:
                    break
                if answer:
                    raise ProvisionerError(f"{what}: {answer}.")
                # Without a record now, another worker is starting this launch.
                if not wait_until(lambda: record_of(folder) is not None or not folder.is_locked(), seconds=left):
                    raise ProvisionerError("Another worker is starting this launch and does not finish.")
        return self.inspect(spec.key)

    def request_stop(self, key: LaunchKey) -> None:
        """Send TERM to the agent, which ends its runtime and itself. Returns at once."""
        with _explained("The workspace's process could not be asked to stop"):
            self._ask_to_end(LaunchFolder(self._root, key), wait_seconds=0)

    def stop(self, key: LaunchKey, *, timeout_seconds: float) -> Observation:
        """End the agent and everything that it started, by force after the timeout; look again and return that.

        The processes are looked for whatever the folder says, since an agent may have changed it.
        """
        folder = LaunchFolder(self._root, key)
        with _explained("The workspace's process could not be stopped"):
            record = readable_record_of(folder)
            if record is None:
                folder.bar()
            was_here = self._ask_to_end(folder, wait_seconds=timeout_seconds)
            if left := self._kill(folder):
                pids = ", ".join(map(str, left))
                return Observation(state=BackendState.RUNNING, detail=f"Not even KILL ended the processes {pids}.")
        if was_here and record and _absence(record):
            return _exited(folder)
        if record is None and not folder.is_locked():
            return Observation(state=BackendState.MISSING, detail="No process of this launch runs here.")
        return self.inspect(key)

    def inspect(self, key: LaunchKey, *, with_log: bool = True) -> Observation:
        """Return the state of the launch's process: UNKNOWN if it can't be read or known. Never raises."""
        folder = LaunchFolder(self._root, key)
        try:
            record = record_of(folder)
            if record is None and folder.is_locked():
                return Observation(state=BackendState.UNKNOWN, detail="The launch is just being started.")
            nothing = Observation(state=BackendState.MISSING, detail="Nothing was started for this launch here.")
            absence = _absence(record) if record else nothing
            # First look for the agent: on a host without namespaces it can forge its own exit.
            agent = find_process(*record.agent) if record and not absence else None
            if record and agent and is_alive(agent):
                url, tail = f"http://127.0.0.1:{record.port}", tail_of(folder.log) if with_log else ""
                return Observation(state=BackendState.RUNNING, url=url, log_tail=tail, detail=_warning(record))
            if record and exit_of(folder) is not None:
                return _exited(folder)
            if absence and absence.state is BackendState.MISSING and _members(folder).all:
                return Observation(state=BackendState.UNKNOWN, detail="It runs here, but its record is gone or false.")
            if absence or not record:
                return absence or nothing
            # The agent stays a zombie until its supervisor has recorded the exit.
            wait_until(lambda: find_process(*record.agent) is None, seconds=EXIT_RECORD_SECONDS)
            return _exited(folder)
        except (OSError, ValueError, psutil.Error) as error:
            return Observation(state=BackendState.UNKNOWN, detail=f"The launch's record can't be read: {error}.")

    def read_log(self, key: LaunchKey, *, offset: int, most: int) -> LogPart:
        """See Provisioner."""
        with _explained("The workspace's log could not be read"):
            return part_of(LaunchFolder(self._root, key).log, offset=offset, most=most)

    def log_size(self, key: LaunchKey) -> int | None:
        """See Provisioner."""
        with _explained("The workspace's log could not be read"):
            return size_of(LaunchFolder(self._root, key).log)

    def forget(self, key: LaunchKey) -> None:
        """Delete a launch's folders. Raises ProvisionerError while any of its processes runs."""
        with _explained("The launch's folder could not be deleted"):
            self._delete(LaunchFolder(self._root, key))

    def destroy(self, workspace_id: UUID) -> None:
        """Delete all files of a workspace. Raises ProvisionerError while any of its launches runs or may run."""
        with _explained("The workspace's files could not be deleted"):
            for folder in launches(self._root, str(workspace_id)):
                if (seen := self.inspect(folder.key)).state is BackendState.UNKNOWN:
                    raise ProvisionerError(f"Launch {folder.key.launch_id} may still run. {seen.detail}")
                self._delete(folder)
            delete_tree(self._root / RECORDS / str(workspace_id))
            delete_tree(self._root / str(workspace_id))

    def running_launches(self) -> list[LaunchKey]:
        """Return the launches that have a living process."""
        with _explained("This host's processes could not be listed"):
            seen = look()
            return [folder.key for folder in launches(self._root) if _members(folder, seen).all]

    def _delete(self, folder: LaunchFolder) -> None:
        """Delete a launch's folders under its lock. A supervisor that comes later finds no records and won't start."""
        still_runs = ProvisionerError(f"Launch {folder.key.launch_id} still runs. Stop it first.")
        if _members(folder).all:
            raise still_runs
        if folder.records.exists():
            with locked(folder.lock) as is_ours:
                if not is_ours:
                    raise still_runs
                delete_tree(folder.records)
        delete_tree(folder.path)

    def _ask_to_end(self, folder: LaunchFolder, *, wait_seconds: float) -> bool:
        """Send TERM to the supervisor, which passes it on, or to all if it was killed, and wait for their end.

        Return whether there were any.
        """
        record = readable_record_of(folder)
        recorded = find_process(*record.supervisor) if record else None
        # Usually the record is right, and the process's name confirms that: no need to look at all processes.
        if recorded and leads(recorded, folder):
            asked = [recorded]
        else:
            found = _members(folder)
            asked = found.supervisors or found.others
        signal_all(asked, signal.SIGTERM)
        # Otherwise one that was suspended would not hear it.
        signal_all(asked, signal.SIGCONT)
        wait_until_gone(asked, seconds=wait_seconds)
        return bool(asked)

    def _kill(self, folder: LaunchFolder) -> list[int]:
        """Kill all processes and return those that are left. The supervisor kills its children, too, and then ends."""
        deadline = time.monotonic() + KILL_SECONDS
        cgroup = self._settings.cgroup / folder.cgroup_name if self._settings.cgroup else None
        while (found := _members(folder)).all and time.monotonic() < deadline:
            if cgroup := found.cgroup or cgroup:
                cgroups.kill(cgroup)
            for number in (signal.SIGQUIT, signal.SIGCONT):
                signal_all(found.supervisors, number)
            signal_all(found.others, signal.SIGKILL)
            wait_until_gone(found.supervisors or found.others, seconds=QUIT_SECONDS)
            signal_all(filter(may_be_killed, found.supervisors), signal.SIGKILL)
        left = {process.pid for process in found.all}
        if cgroup:
            left.update(cgroups.pids(cgroup))
            cgroups.remove(cgroup)
        return sorted(left)


def _members(folder: LaunchFolder, seen: list[Seen] | None = None) -> Members:
    record = readable_record_of(folder)
    is_valid = record is not None and _absence(record) is None
    return members(folder, record if is_valid else None, look() if seen is None else seen)


def _absence(record: Record) -> Observation | None:
    """Return why the recorded pids are not valid here, or None if they are."""
    here = Host(**this_host())
    # The boot ID is drawn at random at each boot, so it is enough; a hostname may change meanwhile.
    if (record.host.boot_id, record.host.pid_namespace) == (here.boot_id, here.pid_namespace):
        return None
    if record.host.boot_id == here.boot_id:
        where = "in another container of this host"
    # Compare both: machine IDs are copied with images, and hostnames are not unique.
    elif (here.machine_id, here.hostname) == (record.host.machine_id, record.host.hostname):
        return Observation(state=BackendState.MISSING, detail="This host was booted again since the launch.")
    else:
        where = f"on another host, {record.host.hostname},"
    return Observation(state=BackendState.UNKNOWN, detail=f"The launch runs {where} and can only be seen from there.")


def _warning(record: Record) -> str:
    if record.containment is not Containment.NONE:
        return ""
    return "Not contained: this host allows neither a pid namespace nor a cgroup, so a stop may miss what got away."


def _exited(folder: LaunchFolder) -> Observation:
    found = exit_of(folder) or Exit()
    detail = "The exit code is not known: the process that records it was ended too."
    if found.exit_code is not None:
        peaks = found.model_dump(by_alias=True, exclude={"exit_code"}, exclude_none=True)
        detail = ", ".join(f"{name} {value}" for name, value in peaks.items())
    return Observation(
        state=BackendState.EXITED, exit_code=found.exit_code, log_tail=tail_of(folder.log), detail=detail
    )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn errors of the system into messages for operators."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ProvisionerError(f"{what}: {describe_error(error)}.") from error
