"""The folders of the process backend: what lies where, and how it is written so that a crash leaves no half file.

<root>/<workspace_id>/work/                    the workspace's own data, kept from launch to launch
<root>/<workspace_id>/launches/<launch_id>/    config/, process.json, exit.json, agent.log, lock, barred
"""

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import yaml

from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.process.processes import Host, Process


class Record(NamedTuple):
    """What a shim wrote down of itself and of its child, the agent, before that began."""

    host: Host
    shim: Process
    child: Process
    port: int


class LaunchFolder(NamedTuple):
    """One launch's folder and the workspace's folder it lies in."""

    path: Path
    work: Path

    @classmethod
    def of(cls, root: Path, key: LaunchKey) -> "LaunchFolder":
        """Return the launch's folder, whether it is there or not."""
        workspace = root / str(key.workspace_id)
        return cls(path=workspace / "launches" / str(key.launch_id), work=workspace / "work")

    @classmethod
    def all_in(cls, workspace: Path) -> "list[LaunchFolder]":
        """Return the folders of all launches of a workspace. Raises OSError."""
        launches = workspace / "launches"
        paths = sorted(launches.iterdir()) if launches.exists() else []
        return [cls(path=path, work=workspace / "work") for path in paths]

    @staticmethod
    def key_of(root: Path, config: Path) -> LaunchKey | None:
        """Return whose folder for configuration under `root` this is, or None where it is nobody's."""
        try:
            workspace_id, launches, launch_id, name = config.relative_to(root).parts
            key = LaunchKey(workspace_id=UUID(workspace_id), launch_id=UUID(launch_id))
        except ValueError:
            return None
        return key if (launches, name) == ("launches", "config") else None

    @property
    def launch_id(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config"

    @property
    def log(self) -> Path:
        return self.path / "agent.log"

    def make(self) -> None:
        """Make the folders, readable for us alone."""
        for folder in (self.work, self.path, self.config):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def bar(self) -> None:
        """Leave word that this launch must never start: its stop came first, perhaps while it was prepared."""
        self.make()
        (self.path / "barred").touch(mode=0o600)

    def is_barred(self) -> bool:
        return (self.path / "barred").exists()

    def write_config(self, config: Mapping[str, object], *, token: str) -> None:
        """Write the configuration for readers with YAML and without, and the token for its owner only."""
        _write(self.config / "config.json", json.dumps(config), 0o644)
        _write(self.config / "config.yaml", _yaml(config), 0o644)
        _write(self.config / ".auth_token", token, 0o600)

    def record(self) -> Record | None:
        """Return the shim's record, or None before it exists. Raises OSError, or ValueError for a damaged one."""
        fields = _read(self.path / "process.json")
        if fields is None:
            return None
        try:
            shim, child = (Process(*fields[who]) for who in ("shim", "child"))
            return Record(Host(**fields["host"]), shim, child, int(fields["port"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"process.json is damaged: {error}") from error

    def exit_code(self) -> int | None:
        """Return the recorded exit code (negative: a signal's number), or None where none was recorded."""
        fields = _read(self.path / "exit.json")
        if fields is None:
            return None
        if isinstance(code := fields.get("exit_code"), int):
            return code
        raise ValueError("exit.json is damaged")

    @contextmanager
    def locked(self) -> Iterator[int | None]:
        """Yield the held lock's descriptor, or None where another start or a living shim holds it."""
        with self._lock_file() as descriptor:
            yield descriptor if lock(descriptor) else None

    def is_locked(self) -> bool:
        """Say whether something of this launch lives or is just being started."""
        try:
            with self._lock_file() as descriptor:
                # Shared: two that look at once don't take each other for a launch.
                return not lock(descriptor, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the file's lock, which lives as long as any process that inherited the descriptor; False if taken."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def delete_tree(path: Path) -> None:
    """Delete the folder with all in it, read-only folders too. Raises OSError; one that isn't there is no error."""
    if path.exists():
        shutil.rmtree(path, onerror=_make_writable_and_retry)


def _make_writable_and_retry(function: Callable[..., Any], path: str, info: object) -> None:
    with suppress(FileNotFoundError):
        for entry in (path, os.path.dirname(path)):
            os.chmod(entry, stat.S_IRWXU)
        if function is os.rmdir or function is os.unlink:
            function(path)
        else:
            delete_tree(Path(path))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    if isinstance(fields, dict):
        return fields
    raise ValueError(f"{path.name} is damaged")


def _yaml(config: Mapping[str, object]) -> str:
    # libyaml's dumper: PyYAML's own takes ten times as long.
    return yaml.dump(dict(config), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)


def _write(path: Path, text: str, mode: int) -> None:
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
