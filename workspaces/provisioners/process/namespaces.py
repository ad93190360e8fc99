"""A pid namespace for each launch, where the kernel allows it: everything in it ends with its first process.

The agent also sees a file tree of its own, without other processes and without Slipway's files. As a script this says
which namespaces may be made. It imports the standard library only, so that this takes no time.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

PID, USER, MOUNT = 0x20000000, 0x10000000, 0x00020000
# With the right to administer the system, a pid namespace alone; else within a user namespace, as the same user.
CHOICES = (PID, PID | USER)
_NO_SUID, _NO_DEVICES, _NO_EXECUTION, _READ_ONLY = 2, 4, 8, 1
_REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 32, 4096, 16_384, 1 << 18
_DROP_FROM_BOUNDING_SET, _CAPABILITIES, _CAPABILITY_VERSION = 24, 64, 0x20080522
# Those that Docker gives containers, without `mknod`: chown, dac_override, fowner, fsetid, kill, setgid, setuid,
# setpcap, net_bind_service, net_raw, sys_chroot, audit_write, setfcap.
_KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})
# Docker makes these read-only, too.
KERNEL_SETTINGS = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
_LIBC = ctypes.CDLL(None, use_errno=True)


@cache
def allowed() -> int:
    """Return the flags of the namespaces that this process may make for a launch, or 0 if the host allows none."""
    asked = subprocess.run([sys.executable, "-I", "-S", __file__], capture_output=True, check=False)
    return int(asked.stdout) if asked.stdout.isdigit() else 0


def may_make(flags: int) -> bool:
    """Return whether this process may make these namespaces, by making them for a child. Not for one with threads."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    enter(flags)
    if first := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
    seclude([Path("/tmp")], [])  # noqa: S108
    os._exit(0)


def enter(flags: int) -> None:
    """Let our next child be the first process of a pid namespace, and of a user namespace as ourselves. Raises OSError.

    Call it in a process with one thread, and fork once.
    """
    user, group = os.getuid(), os.getgid()
    _call(_LIBC.unshare, flags)
    if flags & USER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def seclude(hidden: Sequence[Path], shown: Sequence[Path]) -> None:
    """Hide other processes and these folders from us, except for those shown, and give up the right to undo that.

    Raises OSError.
    """
    _call(_LIBC.unshare, MOUNT)
    _mount("none", Path("/"), flags=_PRIVATE | _RECURSIVE)
    sources = [(path, os.open(path, os.O_PATH)) for path in shown]
    safe = _NO_SUID | _NO_DEVICES | _NO_EXECUTION
    _mount("proc", Path("/proc"), "proc", flags=safe)
    # As root we could have the kernel start programs for us, outside of our namespace.
    for path in map(Path, KERNEL_SETTINGS):
        if path.exists():
            _mount(str(path), path, flags=_BIND)
            _mount("none", path, flags=_REMOUNT | _BIND | _READ_ONLY | safe)
    covered = []
    for folder in hidden:
        # One may lie in another, which hides it.
        if folder.exists():
            _mount("tmpfs", folder, "tmpfs", flags=safe, options="mode=755,size=64k")
            covered.append(folder)
    for path, source in sources:
        path.mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{source}", path, flags=_BIND | _RECURSIVE)
        os.close(source)
    for folder in covered:
        _mount("none", folder, flags=_REMOUNT | _BIND | _READ_ONLY | safe)
    give_up_capabilities()


def give_up_capabilities() -> None:
    """Keep a few capabilities, also for programs that we run. Raises OSError."""
    for number in set(range(_CAPABILITIES)) - _KEPT_CAPABILITIES:
        # Fails only for numbers that this kernel doesn't know.
        _LIBC.prctl(_DROP_FROM_BOUNDING_SET, number, 0, 0, 0)
    kept = sum(1 << number for number in _KEPT_CAPABILITIES)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()
    _call(_LIBC.capget, header, data)
    # Effective, permitted and inheritable, for the first 32 capabilities and for the others.
    _call(_LIBC.capset, header, (ctypes.c_uint32 * 6)(*(each & kept for each in data[:3]), 0, 0, 0))


def pids_of(pid: int) -> list[int]:
    """Return the pids of a process, from our namespace to its own, where the first one is 1; none if it has ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((list(map(int, line.split()[1:])) for line in lines if line.startswith("NSpid:")), [])
    return []


def _mount(source: str, target: Path, kind: str = "", *, flags: int, options: str = "") -> None:
    texts = (source.encode(), os.fsencode(target), kind.encode() or None)
    _call(_LIBC.mount, *texts, ctypes.c_ulong(flags), options.encode() or None)


def _call(function: Any, *arguments: object) -> None:
    if function(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.stdout.write(str(next(filter(may_make, CHOICES), 0)))
