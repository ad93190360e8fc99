"""Keeps child processes running: restarts them with backoff, and stops them with everything they started."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

import psutil

from devserver.console import Console
from workspaces.provisioners.host_processes import session_members, signal_all, wait_until

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
# A process that ran this long has recovered: its next delay is the first one again.
STEADY_SECONDS = 60.0
_KILL_SECONDS = 5.0


class Supervised(Protocol):
    """A process that can be started again."""

    @property
    def name(self) -> str: ...

    @property
    def has_exited(self) -> bool: ...

    def spawn(self) -> None: ...

    def describe_exit(self) -> str: ...


@dataclass
class Child:
    """A command that runs in a session of its own, so that Ctrl-C reaches the supervisor only."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    console: Console
    process: subprocess.Popen[str] | None = None
    _leader: psutil.Process | None = None

    @property
    def has_exited(self) -> bool:
        """Return whether the session's first process has ended; this also collects its exit code."""
        return self.process is None or self.process.poll() is not None

    def spawn(self) -> None:
        """Start the command, after killing what an earlier run of it left behind."""
        self.kill()
        self.process = subprocess.Popen(
            self.command,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._leader = psutil.Process(self.process.pid)
        threading.Thread(target=self._copy_output, args=(self.process.stdout,), daemon=True).start()

    def describe_exit(self) -> str:
        """Return how the process ended."""
        code = self.process.returncode if self.process else None
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def terminate(self) -> None:
        """Ask the session's first process to end."""
        if self.process and not self.has_exited:
            self.process.terminate()

    def kill(self) -> None:
        """Kill every process of the session and wait until all are gone."""
        leader = self._leader
        if leader is None:
            return
        signal_all(session_members(leader), signal.SIGKILL)
        wait_until(lambda: self.has_exited and not session_members(leader), seconds=_KILL_SECONDS)

    def _copy_output(self, output: IO[str]) -> None:
        with output:
            for line in output:
                if line.strip():
                    self.console.write_output(self.name, line.rstrip("\n"))


@dataclass
class Watched:
    """A supervised process and when to start it again."""

    subject: Supervised
    started_at: float = 0.0
    delay: float = FIRST_DELAY_SECONDS
    restart_at: float | None = None


@dataclass
class Supervisor:
    """Looks after processes whenever `tick` is called; in between nothing happens."""

    console: Console
    watched: list[Watched] = field(default_factory=list)

    def watch(self, subject: Supervised) -> None:
        """Look after a process that already runs."""
        self.watched.append(Watched(subject=subject, started_at=time.monotonic()))

    def start(self, children: Sequence[Child]) -> None:
        """Start children and look after them."""
        for child in children:
            child.spawn()
            self.watch(child)

    def tick(self) -> None:
        """Schedule the restart of processes that have ended, and restart those that are due."""
        now = time.monotonic()
        for each in self.watched:
            if each.restart_at is None and each.subject.has_exited:
                if now - each.started_at >= STEADY_SECONDS:
                    each.delay = FIRST_DELAY_SECONDS
                each.restart_at = now + each.delay
                name, reason = each.subject.name, each.subject.describe_exit()
                self.console.write(f"{name} {reason}; it is started again in {each.delay:.0f} s.")
                each.delay = min(each.delay * 2, LONGEST_DELAY_SECONDS)
            elif each.restart_at is not None and now >= each.restart_at:
                each.started_at, each.restart_at = now, None
                try:
                    each.subject.spawn()
                except OSError as error:
                    # A full disk or process table: the next attempt may succeed.
                    reason = os.strerror(error.errno or 0)
                    self.console.write_output(each.subject.name, f"could not be started: {reason}")

    def stop(self, children: Sequence[Child], *, seconds: float, is_forced: Callable[[], bool] = lambda: False) -> None:
        """Ask children to end, and kill what is left of their sessions after this many seconds, or once forced."""
        names = {child.name for child in children}
        self.watched = [each for each in self.watched if each.subject.name not in names]
        for child in children:
            child.terminate()
        wait_until(lambda: is_forced() or all(child.has_exited for child in children), seconds=seconds)
        for child in children:
            child.kill()
