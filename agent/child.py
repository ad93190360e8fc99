"""A process that the agent starts: a boot step or the runtime, in a process group of its own."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

from agent import interruption
from agent.journal import Journal

# Longer than a runtime needs to close its connections, shorter than the platform waits before it kills everything.
END_SECONDS = 3.0
# A background process of a boot step may keep its output open for ever, so reading it is limited.
LAST_OUTPUT_SECONDS = 0.5


class Child:
    """A running process whose output goes to the journal."""

    def __init__(self, command: list[str], *, environment: Mapping[str, str], journal: Journal) -> None:
        """Start the command. Raises OSError."""
        reader, writer = os.pipe()
        try:
            self.pid = _spawn(command, environment, writer)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self.exit_code: int | None = None
        self._copying = journal.copy_from(reader)

    def wait(self, seconds: float | None = None) -> int | None:
        """Return the exit code (negative: a signal's number), or None if it still runs when the time is up."""
        deadline = time.monotonic() + (seconds if seconds is not None else 1e9)
        while self._reap() is None and time.monotonic() < deadline:
            # Check every 30 seconds even without SIGCHLD, in case a signal is lost.
            interruption.wait_for_child(min(deadline, time.monotonic() + 30))
        if self.exit_code is not None:
            self._copying.join(LAST_OUTPUT_SECONDS)
        return self.exit_code

    def end(self) -> None:
        """Send TERM to the process group, and KILL if it has not ended in time."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while self._reap() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        while self._reap() is None and time.monotonic() < deadline + END_SECONDS:
            time.sleep(0.02)
        self._copying.join(LAST_OUTPUT_SECONDS)

    def _reap(self) -> int | None:
        """Collect every child that ended. As the first process of a container, the agent inherits all orphans."""
        while self.exit_code is None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self.pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code

    def _signal(self, number: signal.Signals) -> None:
        # The group is gone, or another user owns what is left; the platform stops those processes.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def describe_exit(exit_code: int) -> str:
    """Return how a process ended, for a sentence: `exited with status 3`."""
    if exit_code >= 0:
        return f"exited with status {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was ended by signal {-exit_code}"


def own_exit_code(exit_code: int) -> int:
    """Return what a shell would exit with after a child that ended like this."""
    return exit_code if exit_code >= 0 else 128 - exit_code


def _spawn(command: list[str], environment: Mapping[str, str], output: int) -> int:
    return os.posix_spawnp(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setpgroup=0,
        # Otherwise the child inherits the signals that the agent blocks and Python ignores.
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, *interruption.STOP_SIGNALS],
    )
