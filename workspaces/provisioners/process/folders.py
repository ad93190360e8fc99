"""The folders of the process backend. An agent can replace everything in them, so everything read here is checked.

<root>/<workspace_id>/work/                    the workspace's own data, kept from launch to launch
<root>/<workspace_id>/launches/<launch_id>/    config/, process.json, exit.json, agent.log, lock, barred
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated
from uuid import UUID

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.files import read_bounded, write_replacing

MOST_BYTES = 65_536
Text = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[ -~]*$")]
# A pid and when the process started, in seconds after the host's boot: another process may get the same pid later.
ProcessID = tuple[Annotated[int, Field(gt=0, lt=2**31)], Annotated[float, Field(ge=0)]]


class Stored(BaseModel):
    """Something stored as JSON, with exactly the types given."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, populate_by_name=True)


class Host(Stored):
    """The scope in which a pid is unique: a machine, since its boot, in a pid namespace."""

    machine_id: Text
    hostname: Text
    boot_id: Text
    pid_namespace: Text


class Record(Stored):
    """What a launch's supervisor recorded before the agent started."""

    host: Host
    supervisor: ProcessID
    agent: ProcessID
    port: Annotated[int, Field(gt=0, lt=65_536)]


class Exit(Stored):
    """How an agent ended. The peaks are known if it had a cgroup with these controllers."""

    exit_code: Annotated[int, Field(ge=-255, le=255)] | None = None
    memory_peak: int | None = Field(default=None, alias="memory.peak")
    pids_peak: int | None = Field(default=None, alias="pids.peak")


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


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """What the process backend is told by Slipway's settings.

    `inherited` is the part of Slipway's own environment that every workspace gets, such as PATH. Each launch gets a
    cgroup below `cgroup`, if that is allowed, with these `limits` by file name: `memory.max` in bytes, `pids.max`.
    """

    root: Path
    log_bytes: int
    inherited: Mapping[str, str]
    cgroup: Path | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


class LaunchFolder:
    """The folder of one launch, which need not exist."""

    def __init__(self, root: Path, key: LaunchKey) -> None:
        self.key = key
        self.work = root / str(key.workspace_id) / "work"
        self.path = root / str(key.workspace_id) / "launches" / str(key.launch_id)
        self.config, self.log, self.barred = (self.path / name for name in ("config", "agent.log", "barred"))
        # By this name its supervisor is found, and its cgroup. The kernel allows 15 characters.
        self.process_name = key.launch_id.hex[-15:]
        self.cgroup_name = f"slipway-{key.launch_id}"
        # The launch's supervisor holds it from before the record exists until its own end.
        self.lock = FileLock(self.path / "lock", mode=0o600, blocking=False, thread_local=False)

    def make(self) -> None:
        """Make the folders, readable only for this user."""
        for folder in (self.work, self.path, self.config):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def is_locked(self) -> bool:
        """Return whether the launch has a supervisor."""
        try:
            if self.path.exists():
                self.lock.acquire()
                self.lock.release()
        except Timeout:
            return True
        return False

    def write_config(self, config: Mapping[str, object], *, token: str) -> None:
        """Write config.json, config.yaml and the token, which only this user can read."""
        # The C dumper is ten times as fast.
        text = yaml.dump(dict(config), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        write_replacing(self.config / "config.json", json.dumps(config), 0o644)
        write_replacing(self.config / "config.yaml", text, 0o644)
        write_replacing(self.config / ".auth_token", token, 0o600)

    def write(self, name: str, stored: Stored) -> None:
        """Write process.json or exit.json."""
        write_replacing(self.path / name, stored.model_dump_json(by_alias=True), 0o600)

    def record(self) -> Record | None:
        """Return the supervisor's record, or None before it exists. Raises OSError, or ValueError if it is damaged."""
        content = read_bounded(self.path / "process.json", MOST_BYTES)
        try:
            return None if content is None else Record.model_validate_json(content)
        except ValidationError as error:
            raise ValueError("process.json is damaged") from error

    def exit(self) -> Exit | None:
        """Return the recorded exit, or None before it exists; one without a code if it is damaged."""
        try:
            content = read_bounded(self.path / "exit.json", MOST_BYTES)
            return None if content is None else Exit.model_validate_json(content)
        except (OSError, ValueError):
            return Exit()


def launches(root: Path, workspace: str = "*") -> Iterator[LaunchFolder]:
    """Yield the folders of launches under `root`, of one workspace or of all."""
    for path in sorted(root.glob(f"{workspace}/launches/*")):
        # Skip other names, and links that lead elsewhere.
        with suppress(ValueError):
            if path.resolve() == root.resolve() / path.relative_to(root):
                yield LaunchFolder(root, LaunchKey(workspace_id=UUID(path.parts[-3]), launch_id=UUID(path.name)))
