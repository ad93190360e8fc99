"""Start launch supervisors from multiprocessing's fork server, which has loaded what they need.

A fork costs a fraction of a new interpreter. The server is a child of the worker and ends with it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any

import psutil

from workspaces.provisioners.host_processes import is_alive, signal_all, wait_until, wait_until_gone

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["workspaces.provisioners.process.supervisor"])
# The supervisor must encode texts as the worker does.
_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")
_lock = threading.Lock()
_server: psutil.Process | None = None
_STOP_SECONDS = 5.0
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
    """Return the folder of the socket at which this process's fork server listens."""
    return Path(util.get_temp_dir())


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
