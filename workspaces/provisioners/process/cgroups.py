"""A control group (cgroup v2) for each launch, if one can be made."""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path


def own() -> Path | None:
    """Return the folder of this process's cgroup, or None."""
    mount, root = _mounted()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        path = os.path.relpath(line[3:], root)
        if mount and line.startswith("0::") and not path.startswith(".."):
            return mount / path
    return None


def make(path: Path, limits: Mapping[str, int]) -> bool:
    """Make a cgroup with these limits. Return False if that is not allowed. Limits without a controller are skipped."""
    if not is_below_mount(path):
        return False
    try:
        path.mkdir(exist_ok=True)
    except OSError:
        return False
    for name, value in limits.items():
        with suppress(OSError):
            (path / name).write_text(str(value))
    return True


def is_below_mount(path: Path) -> bool:
    """Tell whether a path can be a cgroup. An agent may have written it."""
    return _mounted()[0] in path.parents and ".." not in path.parts


def pids(path: Path) -> list[int]:
    """Return the pids in the cgroup and in those below it; none if it is gone."""
    found: list[int] = []
    for file in path.rglob("cgroup.procs"):
        with suppress(OSError):
            found += map(int, file.read_text().split())
    return found


def kill(path: Path) -> None:
    """Kill all processes in the cgroup at once, if the kernel has `cgroup.kill` (5.14)."""
    with suppress(OSError):
        (path / "cgroup.kill").write_text("1")


def remove(path: Path) -> None:
    """Remove the cgroup and those below it, if no process is left in them."""
    with suppress(OSError):
        for file in sorted(path.rglob("cgroup.procs"), reverse=True):
            file.parent.rmdir()


@cache
def _mounted() -> tuple[Path | None, str]:
    """Return where cgroup v2 is mounted, and its root as seen from there."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            return Path(mount.split()[4]), mount.split()[3]
    return None, "/"
