"""Start launch supervisors from multiprocessing's fork server, which has loaded what they need.

A fork costs a fraction of a new interpreter. The server is a child of the worker and ends with it.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from typing import Any

import psutil

from workspaces.provisioners.host_processes import is_alive

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["workspaces.provisioners.process.supervisor"])
# The supervisor must encode texts as the worker does.
_LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")
_lock = threading.Lock()
_servers: list[psutil.Process] = []


def start(inherited: Mapping[str, str]) -> None:
    """Start this process's fork server, unless it runs, with only these variables, since its children show them.

    This changes `os.environ` for a moment, so a worker with threads calls it before it starts them.
    """
    with _lock:
        if any(map(is_alive, _servers)):
            return
        before = dict(os.environ)
        try:
            os.environ.clear()
            os.environ.update({name: before[name] for name in _LOCALE if name in before} | dict(inherited))
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)
        children = psutil.Process().children()
        _servers[:] = [each for each in children if "multiprocessing.forkserver" in " ".join(each.cmdline())]


def call(function: Callable[..., None], *arguments: Any, timeout_seconds: float) -> str:
    """Run the function in a child with the arguments and a connection. Return the text that it sends.

    Raises TimeoutError if it sends nothing in time, EOFError if it ends before that.
    """
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    with ours:
        with theirs:
            child = _CONTEXT.Process(target=function, args=(*arguments, theirs))
            child.start()
        if not ours.poll(timeout_seconds):
            # Asked first, since its pid may already be another process's.
            if child.is_alive():
                child.kill()
            raise TimeoutError
        child.join()
        return str(ours.recv())
