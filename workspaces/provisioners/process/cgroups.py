"""A control group (cgroup v2) for each launch, if one can be made."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path


def of_process(pid: int | str = "self") -> Path | None:
    """Return the folder of a process's cgroup, or None if it has ended or cgroup v2 is not mounted."""
    mount, root = _mounted()
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            path = os.path.relpath(line[3:], root)
            if mount and line.startswith("0::") and not path.startswith(".."):
                return mount / path
    return None


def enclosing(name: str, path: Path | None) -> Path | None:
    """Return the cgroup of this name that a path leads to or through, or None."""
    return next((each for each in (path, *path.parents) if each.name == name), None) if path else None


def make(path: Path, limits: Mapping[str, int]) -> bool:
    """Make a cgroup with these limits. Return False if that is not allowed. Limits without a controller are skipped."""
    try:
        path.mkdir(exist_ok=True)
    except OSError:
        return False
    for name, value in limits.items():
        with suppress(OSError):
            (path / name).write_text(str(value))
    return True


def add(path: Path, pid: int) -> bool:
    """Move a process into the cgroup. Return False if that is not allowed."""
    try:
        (path / "cgroup.procs").write_text(str(pid))
    except OSError:
        return False
    return True


def peaks(path: Path) -> dict[str, int]:
    """Return the most memory in bytes and the most processes that the cgroup had, if it has these controllers."""
    found = {}
    for name in ("memory.peak", "pids.peak"):
        with suppress(OSError, ValueError):
            found[name] = int((path / name).read_text())
    return found


def kill(path: Path) -> None:
    """Freeze the cgroup, so that nothing in it starts more, and kill all that is in it."""
    for name in ("cgroup.freeze", "cgroup.kill"):
        with suppress(OSError):
            (path / name).write_text("1")
    # A kernel before 5.14 has no `cgroup.kill`.
    for pid in pids(path):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def pids(path: Path) -> list[int]:
    """Return the processes in the cgroup and those below it."""
    found: list[int] = []
    for file in path.rglob("cgroup.procs"):
        with suppress(OSError):
            found.extend(map(int, file.read_text().split()))
    return found


def remove(path: Path) -> None:
    """Remove the cgroup and those below it, if no process is left in them."""
    folders = [file.parent for file in path.rglob("cgroup.procs")]
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()


@cache
def _mounted() -> tuple[Path | None, str]:
    """Return where cgroup v2 is mounted, and its root as seen from there."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            return Path(mount.split()[4]), mount.split()[3]
    return None, "/"
