"""Keeps child processes running: starts them again with backoff, and ends them with everything they started."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

from devserver.console import Console
from devserver.processes import identify, session_members, wait_until
from workspaces.provisioners.process.processes import Process, signal_all

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
# One that ran so long has recovered: its next delay is the first one again.
STEADY_SECONDS = 60.0
_KILL_SECONDS = 5.0


class Supervised(Protocol):
    """What can be kept running."""

    @property
    def name(self) -> str: ...

    @property
    def has_exited(self) -> bool: ...

    def spawn(self) -> None: ...

    def describe_exit(self) -> str: ...


@dataclass
class Child:
    """A command of ours that runs in a session of its own; Ctrl-C reaches the supervisor only."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    console: Console
    process: subprocess.Popen[str] | None = None
    _leader: Process | None = None

    @property
    def has_exited(self) -> bool:
        """Tell whether its first process has ended; this also collects its exit code."""
        return self.process is None or self.process.poll() is not None

    def spawn(self) -> None:
        """Start it, after ending what an earlier run of it left behind."""
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
        self._leader = identify(self.process.pid)
        threading.Thread(target=self._pump, args=(self.process.stdout,), daemon=True).start()

    def describe_exit(self) -> str:
        """Return how it ended."""
        code = self.process.returncode if self.process else None
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def terminate(self) -> None:
        """Ask its first process to end."""
        if self.process and not self.has_exited:
            self.process.terminate()

    def kill(self) -> None:
        """End all that is left of its session, by force, and see it gone."""
        leader = self._leader
        if leader is None:
            return
        signal_all(session_members(leader), signal.SIGKILL)
        wait_until(lambda: self.has_exited and not session_members(leader), seconds=_KILL_SECONDS)

    def _pump(self, output: IO[str]) -> None:
        with output:
            for line in output:
                if line.strip():
                    self.console.relay(self.name, line.rstrip("\n"))


@dataclass
class Watch:
    """One supervised process and when it is due to be started again."""

    subject: Supervised
    started_at: float = 0.0
    delay: float = FIRST_DELAY_SECONDS
    due_at: float | None = None


@dataclass
class Supervisor:
    """Looks after its children whenever `tick` is called; nothing happens in between."""

    console: Console
    watches: list[Watch] = field(default_factory=list)

    def adopt(self, subject: Supervised) -> None:
        """Look after something that runs already."""
        self.watches.append(Watch(subject=subject, started_at=time.monotonic()))

    def start(self, children: Sequence[Child]) -> None:
        """Start children and look after them."""
        for child in children:
            child.spawn()
            self.adopt(child)

    def tick(self) -> None:
        """Notice who has ended, and start again who is due."""
        now = time.monotonic()
        for watch in self.watches:
            if watch.due_at is not None:
                if now >= watch.due_at:
                    self._start_again(watch, now=now)
            elif watch.subject.has_exited:
                self._schedule(watch, now=now)

    def end(self, children: Sequence[Child], *, seconds: float) -> None:
        """Ask children to end; after so many seconds end what is left of their sessions by force."""
        names = {child.name for child in children}
        self.watches = [watch for watch in self.watches if watch.subject.name not in names]
        for child in children:
            child.terminate()
        wait_until(lambda: all(child.has_exited for child in children), seconds=seconds)
        for child in children:
            child.kill()

    def _schedule(self, watch: Watch, *, now: float) -> None:
        if now - watch.started_at >= STEADY_SECONDS:
            watch.delay = FIRST_DELAY_SECONDS
        watch.due_at = now + watch.delay
        description = watch.subject.describe_exit()
        self.console.say(f"{watch.subject.name} {description}; it is started again in {watch.delay:.0f} s.")
        watch.delay = min(watch.delay * 2, LONGEST_DELAY_SECONDS)

    def _start_again(self, watch: Watch, *, now: float) -> None:
        watch.started_at, watch.due_at = now, None
        try:
            watch.subject.spawn()
        except OSError as error:
            # A full disk or process table: the next attempt may find it better.
            self.console.relay(watch.subject.name, f"could not be started: {os.strerror(error.errno or 0)}")
