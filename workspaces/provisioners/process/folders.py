"""The folders of the process backend.

<root>/<workspace_id>/work/                    the workspace's own data, kept from launch to launch
<root>/<workspace_id>/launches/<launch_id>/    config/
<root>/.records/<workspace_id>/<launch_id>/    process.json, exit.json, agent.log[.1|.start], lock, barred
<root>/.records/ports                          its bytes are locked by number: the ports of running launches

An agent can replace everything below its workspace's folder, and on a host without namespaces the records as well. So
everything that is read here is checked.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from uuid import UUID

import yaml

from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.files import open_regular, write_replacing

RECORDS = ".records"


@cache
def this_host() -> dict[str, str]:
    """Return the scope in which a pid is unique: this machine, since its boot, in a pid namespace. Raises OSError."""
    machine_id = Path("/etc/machine-id")
    return {
        "machine_id": machine_id.read_text().strip() if machine_id.exists() else "",
        "hostname": os.uname().nodename,
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "pid_namespace": os.readlink("/proc/self/ns/pid"),
    }


class Containment(StrEnum):
    """What holds all processes of a launch together, so that none gets away."""

    NAMESPACE = "namespace"
    CGROUP = "cgroup"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """What the process backend is told by Slipway's settings.

    `inherited` is the part of Slipway's own environment that every workspace gets, such as PATH. Each launch gets the
    `namespaces` with these flags, or none, in which it doesn't see the `hidden` folders and other workspaces. It also
    gets a cgroup below `cgroup`, if that is allowed, with these `limits` by file name: `memory.max` in bytes,
    `pids.max`.
    """

    root: Path
    log_bytes: int
    inherited: Mapping[str, str]
    namespaces: int = 0
    hidden: tuple[Path, ...] = ()
    cgroup: Path | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


class LaunchFolder:
    """The folder of one launch, which need not exist."""

    def __init__(self, root: Path, key: LaunchKey) -> None:
        self.key = key
        self.workspace = root / str(key.workspace_id)
        self.work = self.workspace / "work"
        self.path = self.workspace / "launches" / str(key.launch_id)
        self.config = self.path / "config"
        self.records = root / RECORDS / str(key.workspace_id) / str(key.launch_id)
        names = ("agent.log", "lock", "barred", "process.json", "exit.json")
        self.log, self.lock, self.barred, self.record, self.exit = (self.records / name for name in names)
        # By this name its supervisor is found, and its cgroup. The kernel allows 15 characters.
        self.process_name = key.launch_id.hex[-15:]
        self.cgroup_name = f"slipway-{key.launch_id}"

    def make(self) -> None:
        """Make the workspace's folders, readable only for this user. Raises OSError; ValueError if one is a link."""
        for folder in (self.work, self.path, self.config):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Its earlier launch may have put them there, to let us write elsewhere.
        for folder in (self.workspace, self.path.parent, self.path, self.config):
            if folder.is_symlink():
                raise ValueError(f"{folder} is a symbolic link: remove it")

    def make_records(self) -> None:
        """Make the folder of the records. A launch without it can't be started. Raises OSError."""
        self.records.mkdir(mode=0o700, parents=True, exist_ok=True)

    def bar(self) -> None:
        """Record that this launch must not start any more, if its records allow it: an agent may have damaged them."""
        with suppress(OSError):
            self.make_records()
            os.close(open_regular(self.barred, os.O_WRONLY | os.O_CREAT))

    def is_locked(self) -> bool:
        """Return whether the launch has a supervisor, which holds the lock until its own end. Not if it is damaged."""
        # A shared lock, so that two readers don't mistake each other for a supervisor.
        with suppress(OSError), locked(self.lock, fcntl.LOCK_SH) as is_ours:
            return not is_ours
        return False

    def write_config(self, config: Mapping[str, object], *, token: str, files: Mapping[str, bytes]) -> None:
        """Write the files, config.json, config.yaml and the token, which only this user can read."""
        for name, content in files.items():
            path = self.config / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        # The C dumper is ten times as fast.
        text = yaml.dump(dict(config), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        write_replacing(self.config / "config.json", json.dumps(config), 0o644)
        write_replacing(self.config / "config.yaml", text, 0o644)
        write_replacing(self.config / ".auth_token", token, 0o600)


@contextmanager
def locked(path: Path, kind: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Hold the lock file's lock, and yield whether it could be had at once. Raises OSError.

    This is not filelock, whose hooks made each of a launch's three forks a millisecond slower.
    """
    descriptor = open_regular(path, os.O_RDWR | (os.O_CREAT if kind == fcntl.LOCK_EX else 0))
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(descriptor)


def launches(root: Path, workspace: str = "*") -> Iterator[LaunchFolder]:
    """Yield the folders of launches that have records, of one workspace or of all."""
    for path in sorted((root / RECORDS).glob(f"{workspace}/*")):
        # Skip other names, and links that lead elsewhere.
        with suppress(ValueError, OSError):
            if not path.is_symlink() and not path.parent.is_symlink():
                yield LaunchFolder(root, LaunchKey(workspace_id=UUID(path.parent.name), launch_id=UUID(path.name)))
