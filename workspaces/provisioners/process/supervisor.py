"""The launch supervisor: a child of the fork server, and the parent of the agent.

It prepares the launch, starts the agent, records both, and keeps the newest output and the agent's exit code. As a
subreaper it becomes the parent of orphans that the agent's processes leave behind, and it ends after the last of them.
TERM asks the agent to end, then the orphans; QUIT kills all.

It holds the launch's lock from its beginning to its end, so no record and a free lock mean that nothing runs.
"""

import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
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
from workspaces.provisioners.files import describe_error, write_replacing
from workspaces.provisioners.host_processes import start_time
from workspaces.provisioners.logs import Log
from workspaces.provisioners.process import cgroups
from workspaces.provisioners.process.folders import LaunchFolder, ProcessSettings, locked, this_host
from workspaces.provisioners.proxies import without_proxy_to_platform

LIBC = ctypes.CDLL(None)
PR_SET_CHILD_SUBREAPER = 36
STARTED = "started"
KILL_AGAIN_SECONDS = 0.01
PORT_ATTEMPTS = 100
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT)
IGNORED = (signal.SIGINT, signal.SIGHUP)
# The limits of `execve` for one variable and for all of them.
MOST_BYTES_OF_ONE, MOST_BYTES = 128 * 1024, os.sysconf("SC_ARG_MAX")


def detach(settings: ProcessSettings, spec: LaunchSpec, answer: Connection) -> None:
    """Fork a supervisor that leaves the fork server. It answers STARTED, or why it did not start the agent.

    An empty answer says that the launch ran before or that another supervisor has its lock.
    """
    if os.fork():
        return
    os.setsid()
    close_descriptors(keep=answer.fileno())
    refusal = ""
    try:
        supervise(settings, spec, answer)
    except (OSError, ValueError) as error:
        refusal = describe_error(error)
    # The connection is closed if the agent was started, or if the worker has ended or given up.
    with suppress(OSError):
        answer.send(refusal)


def supervise(settings: ProcessSettings, spec: LaunchSpec, answer: Connection) -> None:
    """Run the launch until its last process has ended, unless it ran before or must not start."""
    folder = LaunchFolder(settings.root, spec.key)
    Path("/proc/self/comm").write_text(folder.process_name)
    folder.make()
    with locked(folder.lock) as is_ours:
        if folder.barred.exists():
            raise ValueError("this launch was stopped before it was started")
        if is_ours and not os.path.lexists(folder.record):
            with reserved_port(settings.root / ".ports") as port:
                supervisor = Supervisor(settings, spec, folder, port)
                supervisor.start()
                with suppress(BrokenPipeError), answer:
                    answer.send(STARTED)
                supervisor.run()


class Supervisor:
    """Starts the agent, and handles output and signals until the agent and all its descendants have ended."""

    def __init__(self, settings: ProcessSettings, spec: LaunchSpec, folder: LaunchFolder, port: int) -> None:
        """Write the configuration, take on the workspace's environment, open the log and make the cgroup."""
        self._folder, self._port = folder, port
        config = rules.effective(spec.config, port=port, environment=spec.environment, model=spec.model)
        folder.write_config(config, token=spec.token, files=spec.files)
        folders = {"WORKSPACE_CONFIG_PATH": folder.config, "CONFIGS_DIR": folder.config, "HOME": folder.work}
        own = {name: str(value) for name, value in {**folders, "PORT": port}.items()}
        set_environment(without_proxy_to_platform({**settings.inherited, **spec.environment, **own}))
        self._log = Log(folder.log, settings.log_bytes)
        cgroup = settings.cgroup / folder.cgroup_name if settings.cgroup else None
        self._cgroup = cgroup if cgroup and cgroups.make(cgroup, settings.limits) else None
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
            run_agent(self._folder.work, gate, agents_output)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        os.close(agents_output)
        try:
            if self._cgroup and not cgroups.add(self._cgroup, self._agent):
                self._cgroup = None
            supervisor, agent = ((pid, start_time(psutil.Process(pid))) for pid in (os.getpid(), self._agent))
            record = {"host": this_host(), "supervisor": supervisor, "agent": agent, "port": self._port}
            write_replacing(self._folder.record, json.dumps(record), 0o600)
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
        while self._reap():
            if signal.SIGQUIT in self._received:
                signal_all(children(), signal.SIGKILL)
            elif signal.SIGTERM in self._received:
                # When a child ends, its children become ours and get the signal next.
                asked = ({self._agent} if self._has_agent else children()) - self._asked_to_end
                signal_all(asked, signal.SIGTERM)
                self._asked_to_end |= asked
            wait = KILL_AGAIN_SECONDS if signal.SIGQUIT in self._received else None
            ready, _, _ = select.select(sources, [], [], wait)
            if self._output in ready and not self._copy():
                sources = [self._wakes]
            if self._wakes in ready:
                self._received.update(os.read(self._wakes, 512))
        if self._cgroup:
            cgroups.remove(self._cgroup)

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


def run_agent(work: Path, gate: int, output: int) -> NoReturn:
    """Run the agent once the gate is open. End if the supervisor died before it could open the gate."""
    exit_code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (*HANDLED, *IGNORED):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.chdir(work)
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
def reserved_port(folder: Path) -> Iterator[int]:
    """Yield a free port of 127.0.0.1 that no other launch has, and hold its lock. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(PORT_ATTEMPTS):
        port = unbound_port()
        with locked(folder / str(port)) as is_ours:
            if is_ours:
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


def children() -> set[int]:
    """Return the pids of our children; none on a kernel without this file, where the worker kills them."""
    with suppress(OSError):
        return set(map(int, Path("/proc/thread-self/children").read_text().split()))
    return set()


def signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        # The process of a setuid program belongs to another user.
        with suppress(PermissionError):
            os.kill(pid, number)
