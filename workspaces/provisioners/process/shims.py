"""The worker's side of starting shims: one forker a worker (fork_shims.py), started when the first launch needs it."""

import atexit
import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workspaces.provisioners.process.appearance import PADDING

FORKER = Path(__file__).with_name("fork_shims.py")
AGENT = Path(__file__).parents[3] / "agent"
# How texts are read and written: a shim must do it as its worker does.
_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")
# What `execve` takes of one variable and of all, so what a workspace's own programs can be started with.
_MOST_BYTES_OF_ONE = 128 * 1024
_MOST_BYTES = os.sysconf("SC_ARG_MAX")


class Forker:
    """A running forker, of the process that started it: a fork of that process shares nobody's."""

    def __init__(self, inherited: Mapping[str, str]) -> None:
        """Start it with this environment. Raises OSError."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._owner = os.getpid()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(FORKER), str(AGENT), str(theirs.fileno()), PADDING],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={"PADDING": PADDING, **inherited, **_locale()},
                pass_fds=[theirs.fileno()],
            )

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, and it runs."""
        return self._owner == os.getpid() and self._process.poll() is None

    def hand_over(self, descriptors: Sequence[int], *, seconds: float) -> None:
        """Have it fork a shim that holds these. Raises OSError where it is gone, TimeoutError where it stands still."""
        self._control.settimeout(seconds)
        socket.send_fds(self._control, [b"!"], descriptors)

    def end(self) -> None:
        """End it at once. Shims that it has forked stay."""
        self._control.close()
        if self._owner != os.getpid():
            # Not ours to wait for, nor to be warned of.
            self._process.returncode = 0
            return
        self._process.kill()
        self._process.wait()


_lock = threading.Lock()
_present: Forker | None = None


def start(task: Mapping[str, Any], *, held: Sequence[int], seconds: float, inherited: Mapping[str, str]) -> str:
    """Have a shim forked that does this and holds these descriptors; return its complaint, once its record is complete.

    `inherited` is what a forker's interpreter is started with, where none runs yet: with what every workspace's is.
    Raises OSError or ValueError where nothing was started, TimeoutError where it is not known what was.
    """
    _check(task["environment"])
    deadline = time.monotonic() + seconds
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            _hand_over([theirs.fileno(), *held], seconds=seconds, inherited=inherited)
        # A shim that was killed hears nothing, and says nothing.
        with suppress(BrokenPipeError, ConnectionResetError):
            ours.settimeout(_left(deadline))
            ours.sendall(json.dumps(task).encode())
            ours.shutdown(socket.SHUT_WR)
        return _received(ours, deadline).decode(errors="replace").strip()


def end_forker() -> None:
    """End the forker at once, with what it was told and has not done; the next start begins another."""
    with _lock:
        _discard()


def _hand_over(descriptors: Sequence[int], *, seconds: float, inherited: Mapping[str, str]) -> None:
    with _lock:
        try:
            _running(inherited).hand_over(descriptors, seconds=seconds)
        except ConnectionError:
            # It was killed just now, and may still pass for one that runs.
            _discard()
            _running(inherited).hand_over(descriptors, seconds=seconds)


def _running(inherited: Mapping[str, str]) -> Forker:
    global _present
    if _present is None or not _present.is_ours:
        _discard()
        _present = Forker(inherited)
    return _present


def _discard() -> None:
    global _present
    if _present is not None:
        _present.end()
    _present = None


def _locale() -> dict[str, str]:
    return {name: os.environ[name] for name in _LOCALE if name in os.environ}


def _received(connection: socket.socket, deadline: float) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while True:
            connection.settimeout(_left(deadline))
            chunk = connection.recv(65_536)
            if not chunk:
                break
            received += chunk
    return received


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _check(environment: Mapping[str, str]) -> None:
    """Refuse what no program can be started with: a fork would take it, and fail at its first boot step."""
    entries = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    if any(b"\0" in entry for entry in entries):
        raise ValueError("embedded null byte")
    if max(map(len, entries)) >= _MOST_BYTES_OF_ONE or sum(map(len, entries)) >= _MOST_BYTES:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))


# Else it would outlive a worker whose own children hold the worker's end of its socket.
atexit.register(end_forker)
