"""Forks a shim for each launch: `python -I -S fork_shims.py PROGRAM DESCRIPTOR PADDING`, started by shims.py.

Once a worker, not once a launch: the interpreter is started and all that shim and agent import is imported here, and a
fork of it costs a tenth of that. Standard library only, imports none of ours but what stands beside it and PROGRAM.

DESCRIPTOR is a socket on which the worker hands over, launch by launch, the descriptors of a new shim: the first is a
connection to the worker, on which it reads what it is to do, and says what goes wrong; the others it only keeps. When
the worker is gone, so is the forker; its shims stay.
"""

import gc
import json
import os
import select
import signal
import socket
import sys

# Found beside this file, and that place forgotten again: nothing of ours may be imported by what runs in here.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import appearance  # type: ignore[import-not-found]
import shim  # type: ignore[import-not-found]

del sys.path[0]
MOST_DESCRIPTORS = 8


def serve(control: socket.socket) -> list[int]:
    """Fork for each launch until the worker is gone. Returns in a fork only: with the descriptors of its launch."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, MOST_DESCRIPTORS)
        if not message:
            sys.exit()
        try:
            is_shim = os.fork() == 0
        except OSError as error:
            # No room for one more process now; the worker says so, and the next launch may find some.
            is_shim = False
            os.write(descriptors[0], str(error).encode())
        if is_shim:
            control.close()
            return descriptors
        for descriptor in descriptors:
            os.close(descriptor)


def become_shim(connection: int, room: appearance.Room, program: shim.Program) -> None:
    """Do what the worker says on this connection; one that died while it said it, or gave us up, wants nothing."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said = b"".join(iter(lambda: os.read(connection, 65_536), b""))
    for output in (1, 2):
        os.dup2(connection, output)
    os.close(connection)
    try:
        task = json.loads(said)
        os.environ.clear()
        room.show([*sys.orig_argv[:4], task["folder"], program.folder], task["environment"])
        os.environ.update(task["environment"])
        os.chdir(task["work"])
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    # After we are shown: a worker that gives up closes its end before it looks for what is to be killed.
    if not _is_given_up(1):
        shim.start(task["folder"], task["parameters"], program)


def _is_given_up(connection: int) -> bool:
    poll = select.poll()
    # Asked for nothing, it tells only of an end that is closed whole; one that has spoken to its end is still open.
    poll.register(connection, 0)
    return bool(poll.poll(0))


def main() -> None:
    _, folder, descriptor, _ = sys.argv
    # The worker ends it, by its own end: what is sent to the worker's whole group is not meant for this one.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Nobody waits for shims: the kernel does.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    room = appearance.Room()
    environment = dict(os.environ)
    os.environ.clear()
    room.show(sys.orig_argv[:5], {})
    # Elsewhere in memory now: what was loaded with the interpreter may ask for it at any time.
    os.environ.update(environment)
    program = shim.Program(folder)
    program.prepare()
    # So that a collection in a fork doesn't copy what all share.
    gc.freeze()
    connection, *_ = serve(socket.socket(fileno=int(descriptor)))
    become_shim(connection, room, program)


if __name__ == "__main__":
    main()
