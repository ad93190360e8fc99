"""The folders of the process backend. An agent can replace everything in them, so everything read here is checked.

<root>/<workspace_id>/work/                    the workspace's own data, kept from launch to launch
<root>/<workspace_id>/launches/<launch_id>/    config/, process.json, exit.json, agent.log, lock, barred
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import yaml

from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.files import open_regular, write_replacing
from workspaces.provisioners.process import cgroups
from workspaces.provisioners.process.processes import Process

MOST_BYTES = 65_536


class Host(NamedTuple):
    """The scope in which a pid is unique: a machine, since its boot, in a pid namespace."""

    machine_id: str
    hostname: str
    boot_id: str
    pid_namespace: str


@cache
def this_host() -> Host:
    """Return this process's host. Raises OSError without /proc."""
    machine_id = Path("/etc/machine-id")
    return Host(
        machine_id=machine_id.read_text().strip() if machine_id.exists() else "",
        hostname=os.uname().nodename,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        pid_namespace=os.readlink("/proc/self/ns/pid"),
    )


class Record(NamedTuple):
    """What a launch's supervisor recorded before the agent started."""

    host: Host
    supervisor: Process
    agent: Process
    port: int
    cgroup: Path | None


class LaunchFolder:
    """The folder of one launch, which need not exist."""

    def __init__(self, root: Path, key: LaunchKey) -> None:
        self.key = key
        self.work = root / str(key.workspace_id) / "work"
        self.path = root / str(key.workspace_id) / "launches" / str(key.launch_id)
        self.config, self.log, self.lock = (self.path / name for name in ("config", "agent.log", "lock"))

    def make(self) -> None:
        """Make the folders, readable only for this user."""
        for folder in (self.work, self.path, self.config):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def bar(self) -> None:
        """Record that this launch must never start, because it was stopped before it started."""
        self.make()
        (self.path / "barred").touch(mode=0o600)

    def is_barred(self) -> bool:
        return (self.path / "barred").exists()

    def write_config(self, config: Mapping[str, object], *, token: str) -> None:
        """Write config.json, config.yaml and the token, which only this user can read."""
        # The C dumper is ten times as fast.
        text = yaml.dump(dict(config), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        write_replacing(self.config / "config.json", json.dumps(config), 0o644)
        write_replacing(self.config / "config.yaml", text, 0o644)
        write_replacing(self.config / ".auth_token", token, 0o600)

    def record(self) -> Record | None:
        """Return the supervisor's record, or None before it exists. Raises OSError, or ValueError if it is damaged."""
        fields = _read(self.path / "process.json")
        if fields is None:
            return None
        try:
            host = Host(**{name: _text(value) for name, value in fields["host"].items()})
            supervisor, agent = (Process(*map(_number, fields[who])) for who in ("supervisor", "agent"))
            cgroup = Path(_text(fields["cgroup"]))
            # An agent may have written the path of another cgroup.
            is_own = cgroup == self.cgroup(cgroup.parent) and cgroups.is_below_mount(cgroup)
            return Record(host, supervisor, agent, _number(fields["port"]), cgroup if is_own else None)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"process.json is damaged: {error}") from error

    def exit(self) -> dict[str, Any] | None:
        """Return the recorded exit, or None before it exists; one without `exit_code` if it is damaged."""
        try:
            return _read(self.path / "exit.json")
        except (OSError, ValueError):
            return {}

    def cgroup(self, parent: Path) -> Path:
        """Return the path of this launch's cgroup."""
        return parent / f"slipway-{self.key.launch_id}"


def launches(root: Path, workspace: str = "*") -> Iterator[LaunchFolder]:
    """Yield the folders of launches under `root`, of one workspace or of all."""
    for path in sorted(root.glob(f"{workspace}/launches/*")):
        # Skip other names, and links that lead elsewhere.
        with suppress(ValueError):
            if path.resolve() == root.resolve() / path.relative_to(root):
                yield LaunchFolder(root, LaunchKey(workspace_id=UUID(path.parts[-3]), launch_id=UUID(path.name)))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with open(open_regular(path), "rb") as file:
            fields = json.loads(file.read(MOST_BYTES))
    except FileNotFoundError:
        return None
    except RecursionError as error:
        raise ValueError(f"{path.name} is damaged") from error
    if isinstance(fields, dict):
        return fields
    raise ValueError(f"{path.name} is damaged")


def _number(value: object) -> int:
    if type(value) is int and 0 < value < 2**63:
        return value
    raise ValueError("process.json is damaged: a number is wrong")


def _text(value: object) -> str:
    if isinstance(value, str) and value.isprintable() and len(value) <= 1024:
        return value
    raise ValueError("process.json is damaged: a text is wrong")
