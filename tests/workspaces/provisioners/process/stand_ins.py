"""What the fork server runs in place of the supervisor, to stop or hinder it at one of its steps."""

import errno
import fcntl
import os
import time
from pathlib import PosixPath

from workspaces.provisioners import host_processes
from workspaces.provisioners.process import cgroups, folders, supervisor


def standing_still(step, *arguments):
    """Sleep at a step, named as in the supervisor's module."""
    setattr(supervisor, step, lambda *_: time.sleep(600))
    supervisor.detach(*arguments)


def not_forking(*arguments):
    time.sleep(600)


def silent(*arguments):
    """End without an answer."""


def offered_ports(ports, *arguments):
    """Offer each launch the same ports."""
    offers = iter(ports)
    supervisor.unbound_port = lambda: next(offers)
    supervisor.detach(*arguments)


def without_space(*arguments):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folders.write_replacing = refuse
    supervisor.detach(*arguments)


def with_peaks(*arguments):
    """Make a folder in place of the cgroup, since the controllers may be missing on a test machine."""

    def make(path, limits):
        path.mkdir()
        (path / "memory.peak").write_text("1048576\n")
        (path / "pids.peak").write_text("7\n")
        return True

    cgroups.make = make
    supervisor.detach(*arguments)


def without_processes(*arguments):
    """Refuse the fork of the agent: the one after `listen`."""

    def refuse():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    supervisor.listen = lambda: setattr(os, "fork", refuse)
    supervisor.detach(*arguments)


def killing_nothing(*arguments):
    """Send no signal, as if nothing could be killed, and tire soon."""
    supervisor.signal_all, supervisor.OUTRUN_SECONDS = lambda *_: None, 0.2
    supervisor.detach(*arguments)


def locking_late(opened, deleted, *arguments):
    """Wait between the opening of the lock file and its lock: make the first file, and wait for the second."""

    def flock(*descriptor_and_kind):
        opened.touch()
        while not deleted.exists():
            time.sleep(0.01)
        lock_now(*descriptor_and_kind)

    lock_now, fcntl.flock = fcntl.flock, flock
    supervisor.detach(*arguments)


def without_lists_of_children(*arguments):
    """Hide the lists of children in /proc, as a kernel without CONFIG_PROC_CHILDREN."""
    host_processes.Path = PathWithoutChildren
    supervisor.detach(*arguments)


class PathWithoutChildren(PosixPath):
    """A path at which no list of children can be read."""

    def read_text(self, *arguments, **options):
        if self.name == "children":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return super().read_text(*arguments, **options)
