"""The launch supervisor: a child of the fork server, and the parent of the agent.

It prepares the launch, starts the agent, records both, and keeps the newest output and the agent's exit code. It is the
first process of the launch's pid namespace, so that none of the others outlives it, or else a subreaper. So it becomes
the parent of orphans that the agent's processes leave behind, and it ends after the last of them. TERM asks the agent
to end, then the orphans; QUIT kills all.

It holds the launch's lock from its beginning to its end, so no record and a free lock mean that nothing runs.
"""

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import psutil

from agent import rules
from agent.supervisor import main as agent_main
from workspaces.provisioners.base import LaunchSpec
from workspaces.provisioners.files import describe_error, open_regular, write_replacing
from workspaces.provisioners.host_processes import children_of, start_time
from workspaces.provisioners.logs import Log
from workspaces.provisioners.process import cgroups, namespaces
from workspaces.provisioners.process.folders import (
    RECORDS,
    Containment,
    LaunchFolder,
    ProcessSettings,
    locked,
    this_host,
)
from workspaces.provisioners.proxies import without_proxy_to_platform

LIBC = ctypes.CDLL(None)
PR_SET_CHILD_SUBREAPER = 36
STARTED = "started"
DELETED = "this launch was deleted before it was started"
# From the first process of a pid namespace, a signal to this pid reaches all others in it.
ALL = -1
PORT_ATTEMPTS = 100
# So long after a QUIT it kills without a pause, then at these intervals: what is left then waits in the kernel.
OUTRUN_SECONDS, KILL_INTERVAL_SECONDS = 5.0, 0.05
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT)
IGNORED = (signal.SIGINT, signal.SIGHUP)
# The limits of `execve` for one variable and for all of them.
MOST_BYTES_OF_ONE, MOST_BYTES = 128 * 1024, os.sysconf("SC_ARG_MAX")


def detach(settings: ProcessSettings, spec: LaunchSpec, answer: Connection) -> None:
    """Fork a supervisor that leaves the fork server. It answers STARTED, or why it did not start the agent.

    An empty answer says that the launch ran before or that another supervisor has its lock.
    """
    refusal = ""
    try:
        # Read before the namespace is left in which the worker knows the supervisor's pid.
        host = this_host()
        if settings.namespaces:
            namespaces.enter(settings.namespaces)
        if os.fork():
            return
        os.setsid()
        close_descriptors(keep=answer.fileno())
        supervise(settings, spec, host, answer)
    except (OSError, ValueError) as error:
        refusal = describe_error(error)
    # The connection is closed if the agent was started, or if the worker has ended or given up.
    with suppress(OSError):
        answer.send(refusal)


def supervise(settings: ProcessSettings, spec: LaunchSpec, host: Mapping[str, str], answer: Connection) -> None:
    """Run the launch until its last process has ended, unless it ran before or must not start."""
    folder = LaunchFolder(settings.root, spec.key)
    Path("/proc/self/comm").write_text(folder.process_name)
    if not folder.records.exists():
        raise ValueError(DELETED)
    with locked(folder.lock) as is_ours:
        # A deletion may have held the lock between our opening of the file and our lock.
        if is_ours and not folder.lock.exists():
            raise ValueError(DELETED)
        if folder.barred.exists():
            raise ValueError("this launch was stopped before it was started")
        if is_ours and not os.path.lexists(folder.record):
            folder.make()
            with reserved_port(settings.root / RECORDS / "ports") as port:
                supervisor = Supervisor(settings, spec, host, folder, port)
                supervisor.start()
                with suppress(BrokenPipeError), answer:
                    answer.send(STARTED)
                supervisor.run()


class Supervisor:
    """Starts the agent, and handles output and signals until the agent and all its descendants have ended."""

    def __init__(
        self, settings: ProcessSettings, spec: LaunchSpec, host: Mapping[str, str], folder: LaunchFolder, port: int
    ) -> None:
        """Write the configuration, take on the workspace's environment, open the log and make the cgroup."""
        self._settings, self._host, self._folder, self._port = settings, host, folder, port
        config = rules.effective(spec.config, port=port, environment=spec.environment, model=spec.model)
        folder.write_config(config, token=spec.token, files=spec.files)
        folders = {"WORKSPACE_CONFIG_PATH": folder.config, "CONFIGS_DIR": folder.config, "HOME": folder.work}
        own = {name: str(value) for name, value in {**folders, "PORT": port}.items()}
        set_environment(without_proxy_to_platform({**settings.inherited, **spec.environment, **own}))
        self._log = Log(folder.log, settings.log_bytes)
        cgroup = settings.cgroup / folder.cgroup_name if settings.cgroup else None
        self._cgroup = cgroup if cgroup and cgroups.make(cgroup, settings.limits) else None
        # As the worker knows it: in the namespace it is 1.
        self._pid = int(os.readlink("/proc/self"))
        self._has_agent = True
        self._received: set[int] = set()
        self._asked_to_end: set[int] = set()

    def start(self) -> None:
        """Fork the agent and record it. It begins only then, so that no agent ever runs without a record."""
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._wakes = listen()
        self._output, agents_output = os.pipe()
        os.set_blocking(self._output, False)
        gate, opener = os.pipe()
        # Blocked until the agent listens: a TERM in its first moments would leave no line in its log.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        self._agent = os.fork()
        if not self._agent:
            os.close(opener)
            run_agent(self._settings, self._folder, gate, agents_output)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        os.close(agents_output)
        try:
            [agents_pid] = children_of(self._pid)
            if self._cgroup and not cgroups.add(self._cgroup, agents_pid):
                self._cgroup = None
            supervisor, agent = ((pid, start_time(psutil.Process(pid))) for pid in (self._pid, agents_pid))
            record = {"host": self._host, "supervisor": supervisor, "agent": agent, "port": self._port}
            write_replacing(self._folder.record, json.dumps({**record, "containment": self._containment}), 0o600)
        except (OSError, psutil.Error):
            os.kill(self._agent, signal.SIGKILL)
            os.waitpid(self._agent, 0)
            if self._cgroup:
                cgroups.remove(self._cgroup)
            raise
        os.write(opener, b"!")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)

    def run(self) -> None:
        """Run until no process of the launch is left."""
        sources = [self._output, self._wakes]
        pause: float | None = None
        outruns_until = 0.0
        while self._reap():
            if signal.SIGQUIT in self._received:
                signal_all({ALL} if self._settings.namespaces else children_of(self._pid), signal.SIGKILL)
                # Without a pause, since a process that replaces itself by another again and again must be outrun.
                pause = 0 if time.monotonic() < outruns_until else KILL_INTERVAL_SECONDS
            elif signal.SIGTERM in self._received:
                # When a child ends, its children become ours and get the signal next.
                orphans = children_inside(self._pid) if self._settings.namespaces else children_of(self._pid)
                asked = ({self._agent} if self._has_agent else orphans) - self._asked_to_end
                signal_all(asked, signal.SIGTERM)
                self._asked_to_end |= asked
            ready, _, _ = select.select(sources, [], [], pause)
            if self._output in ready and not self._copy():
                sources = [self._wakes]
            if self._wakes in ready:
                self._received.update(numbers := os.read(self._wakes, 512))
                if signal.SIGQUIT in numbers:
                    outruns_until = time.monotonic() + OUTRUN_SECONDS
        if self._cgroup:
            cgroups.remove(self._cgroup)

    @property
    def _containment(self) -> Containment:
        if self._settings.namespaces:
            return Containment.NAMESPACE
        return Containment.CGROUP if self._cgroup else Containment.NONE

    def _reap(self) -> bool:
        """Collect ended children. Return False if none is left. The agent stays a zombie until its exit is recorded."""
        try:
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == self._agent:
                    self._has_agent = False
                    self._copy(most=1_048_576)
                    self._record_exit(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)
                os.waitpid(ended.si_pid, 0)
        except ChildProcessError:
            return False
        return True

    def _record_exit(self, exit_code: int) -> None:
        peaks = cgroups.peaks(self._cgroup) if self._cgroup else {}
        try:
            write_replacing(self._folder.exit, json.dumps({"exit_code": exit_code, **peaks}), 0o600)
        except OSError as error:
            self._log.add(f"supervisor: {exit_code=} could not be recorded: {error}.\n".encode())

    def _copy(self, *, most: int = 65_536) -> bool:
        """Copy the output that is there now. Return False at its end."""
        while most > 0:
            try:
                chunk = os.read(self._output, 65_536)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self._log.add(chunk)
            most -= len(chunk)
        return True


def run_agent(settings: ProcessSettings, folder: LaunchFolder, gate: int, output: int) -> NoReturn:
    """Run the agent once the gate is open. End if the supervisor died before it could open the gate."""
    exit_code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (*HANDLED, *IGNORED):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        if settings.namespaces:
            namespaces.seclude(settings.hidden, shown=[folder.workspace])
        os.chdir(folder.work)
        if os.read(gate, 1):
            # The supervisor's locks, too, which the agent's processes would otherwise keep.
            close_descriptors(keep=2)
            exit_code = agent_main(os.environ)
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        with suppress(OSError):
            sys.stdout.flush()
        # Not by an exception: the frames below are the supervisor's.
        os._exit(exit_code)


def set_environment(environment: Mapping[str, str]) -> None:
    """Replace our environment. Raises OSError, or ValueError without a value in its text."""
    lengths = [len(os.fsencode(f"{name}={value}")) for name, value in environment.items()]
    if max(lengths) >= MOST_BYTES_OF_ONE or sum(lengths) >= MOST_BYTES:
        # The agent could start with such an environment, but none of its boot steps could.
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    os.environ.clear()
    os.environ.update(environment)


def listen() -> int:
    """Return a descriptor from which the numbers of arriving signals can be read."""
    wakes, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in HANDLED:
        signal.signal(number, lambda number, frame: None)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    return wakes


@contextmanager
def reserved_port(path: Path) -> Iterator[int]:
    """Yield a free port of 127.0.0.1 that no other launch has, and hold the lock of its byte in the file.

    Such a lock belongs to this process, not to the agent, and ends with it. Raises OSError.
    """
    with open(open_regular(path, os.O_RDWR | os.O_CREAT), "rb") as file:
        for _ in range(PORT_ATTEMPTS):
            port = unbound_port()
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            except BlockingIOError:
                continue
            yield port
            return
    raise OSError(f"no free port was found in {PORT_ATTEMPTS} attempts")


def unbound_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def close_descriptors(*, keep: int) -> None:
    """Close all descriptors from 3 on, except one."""
    os.closerange(3, keep)
    os.closerange(keep + 1, max(map(int, os.listdir("/proc/self/fd"))) + 1)


def children_inside(pid: int) -> set[int]:
    """Return the children of a process by the pids that they have in its own pid namespace."""
    depth = len(namespaces.pids_of(pid))
    return {inside for child in children_of(pid) for inside in namespaces.pids_of(child)[depth - 1 : depth]}


def signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        # The process of a setuid program belongs to another user, and there may be none any more.
        with suppress(PermissionError, ProcessLookupError):
            os.kill(pid, number)
