"""Start launch supervisors from multiprocessing's fork server, which has loaded what they need.

A fork costs a fraction of a new interpreter. The server is a child of the worker and ends with it.
"""

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import forkserver, process, util
from pathlib import Path
from typing import Any

import psutil

from workspaces.provisioners.files import delete_tree
from workspaces.provisioners.host_processes import is_alive, signal_all, wait_until, wait_until_gone

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["workspaces.provisioners.process.supervisor"])
# The supervisor must encode texts as the worker does.
_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")
_lock = threading.Lock()
_server: psutil.Process | None = None
_STOP_SECONDS = 5.0
_LOCK_SECONDS = 60.0
_ENDED = "the worker's fork server ended; is the host out of processes, file descriptors or memory?"


class ForkServerEnded(Exception):
    """The fork server ended while it was asked. The message says what to do."""


def start(inherited: Mapping[str, str]) -> psutil.Process:
    """Start this process's fork server with only these variables, since its children show them, unless it runs.

    This changes `os.environ` for a moment, so a worker with threads calls it before it starts them. Raises OSError or
    ForkServerEnded.
    """
    global _server
    with _lock:
        if _server and is_alive(_server):
            return _server
        # Multiprocessing may have started one with all variables after ours had ended.
        others = _servers()
        signal_all(others, signal.SIGKILL)
        wait_until_gone(others, seconds=_STOP_SECONDS)
        listen_below(socket_folder())
        before = dict(os.environ)
        try:
            os.environ.clear()
            os.environ.update({name: before[name] for name in _LOCALE if name in before} | dict(inherited))
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)
        # A process has no command line in its very first moment.
        wait_until(lambda: bool(_servers()), seconds=_STOP_SECONDS)
        _server = next(iter(_servers()), None)
        if _server is None:
            raise ForkServerEnded(_ENDED)
        return _server


def socket_folder() -> Path:
    """Return the folder below which the fork servers of all workers of this user listen. Raises OSError.

    It is always the same, so what is hidden from an agent hides the fork server of a later worker as well.
    """
    folder = Path(tempfile.gettempdir()) / f"slipway-{os.getuid()}"
    # Any user may make it before we do.
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "not a folder of Slipway's user alone: remove it", str(folder))
    return folder


def listen_below(parent: Path) -> None:
    """Give this process's sockets a folder there, locked until it ends, and delete those of ended processes.

    Raises OSError.
    """
    for left in parent.iterdir():
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A new one is not locked in its first moment.
                if os.fstat(descriptor).st_mtime < time.time() - _LOCK_SECONDS:
                    delete_tree(left)
            finally:
                os.close(descriptor)
    # Multiprocessing has no public way to choose it.
    config = process.current_process()._config  # type: ignore[attr-defined]
    current = Path(config.get("tempdir") or "/")
    if current.parent != parent or not current.exists():
        folder = tempfile.mkdtemp(dir=parent)
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
        util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
        config["tempdir"] = folder


def call(function: Callable[..., None], *arguments: Any, inherited: Mapping[str, str], timeout_seconds: float) -> str:
    """Run the function in a child with the arguments and a connection. Return the text that it sends.

    Raises TimeoutError if it sends nothing in time, EOFError if it ends before that, ForkServerEnded or OSError.
    """
    server = start(inherited)
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    with ours:
        with theirs:
            child = _CONTEXT.Process(target=_run, args=(server.pid, function, *arguments, theirs))
            # A server that hangs would hang us, too.
            watchdog = threading.Timer(timeout_seconds, signal_all, [[server], signal.SIGKILL])
            watchdog.start()
            try:
                child.start()
            except (OSError, EOFError) as error:
                if isinstance(error, EOFError | ConnectionError):
                    # Its connections close a moment before it has ended, and until then no other can be started.
                    wait_until_gone([server], seconds=_STOP_SECONDS)
                raise ForkServerEnded(_ENDED) from error
            finally:
                watchdog.cancel()
        if not ours.poll(timeout_seconds):
            # Asked first, since its pid may already be another process's.
            if child.is_alive():
                child.kill()
            raise TimeoutError
        child.join()
        try:
            return str(ours.recv())
        except EOFError:
            if not is_alive(server):
                raise ForkServerEnded(_ENDED) from None
            raise


def _run(server_pid: int, function: Callable[..., None], *arguments: Any) -> None:
    """Run the function, unless multiprocessing has replaced the fork server by one with the worker's environment."""
    if os.getppid() == server_pid:
        function(*arguments)


def _servers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "multiprocessing.forkserver" in " ".join(child.cmdline()) and is_alive(child):
                found.append(child)
    return found
