"""Which process owns this machine's embedded servers: a lock that the kernel frees, and a record of who holds it."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from devserver.processes import identify, wait_until
from workspaces.provisioners.process.processes import Process, is_alive


class Role(StrEnum):
    """For how long a process owns the servers."""

    # `make up`: until it is told to stop.
    UP = "up"
    # Any other command: for its own duration.
    COMMAND = "command"


class State(StrEnum):
    """How far the owner has come."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True, kw_only=True)
class OwnerRecord:
    """The record that the owner writes for the others."""

    pid: int
    started_at: int
    role: Role
    command: str
    state: State = State.STARTING
    # Where the web UI is; empty for a command.
    address: str = ""
    # Where agents reach it: what a command launches must find the owner's web, not a default one.
    platform_url: str = ""
    database_url: str = ""
    redis_url: str = ""

    @property
    def is_alive(self) -> bool:
        """Tell whether the process that wrote the record still runs."""
        return is_alive(Process(self.pid, self.started_at))


class Ownership:
    """The lock, held; whoever has it may start servers in the folder."""

    def __init__(self, folder: Path, *, descriptor: int, owner: OwnerRecord) -> None:
        self.folder = folder
        self.owner = owner
        self.is_released = False
        self._descriptor = descriptor
        _write(folder, owner)

    def announce(self, state: State, *, database_url: str = "", redis_url: str = "") -> None:
        """Tell the others how far we are and, once ready, the servers' addresses."""
        self.owner = replace(
            self.owner,
            state=state,
            database_url=database_url or self.owner.database_url,
            redis_url=redis_url or self.owner.redis_url,
        )
        _write(self.folder, self.owner)

    def wait_for_members(self, *, seconds: float) -> bool:
        """Wait until nobody uses our servers any more, for at most so long; return whether that is so."""
        with _open(self.folder / "members.lock") as descriptor:
            return wait_until(lambda: _try_lock(descriptor, fcntl.LOCK_EX), seconds=seconds)

    def release(self) -> None:
        """Let the next one own the servers."""
        with suppress(FileNotFoundError):
            (self.folder / "owner.json").unlink()
        os.close(self._descriptor)
        self.is_released = True


class Membership:
    """A share in another process' servers: a short-lived owner waits for us before it stops them."""

    def __init__(self, *, descriptor: int, owner: OwnerRecord) -> None:
        self.owner = owner
        self._descriptor = descriptor

    def release(self) -> None:
        """Tell the owner that we need the servers no more."""
        os.close(self._descriptor)


def try_to_own(folder: Path, *, role: Role, command: str, address: str = "") -> Ownership | None:
    """Take the lock, or return None where another process has it."""
    descriptor = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _try_lock(descriptor, fcntl.LOCK_EX):
        os.close(descriptor)
        return None
    us = identify(os.getpid())
    assert us is not None, "the running process is in /proc"  # noqa: S101 (Linux without /proc can't run this)
    owner = OwnerRecord(
        pid=us.pid,
        started_at=us.started_at,
        role=role,
        command=command,
        address=address,
        platform_url=os.environ.get("PLATFORM_URL", "") if role is Role.UP else "",
    )
    return Ownership(folder, descriptor=descriptor, owner=owner)


def try_to_join(folder: Path) -> Membership | None:
    """Take a share in the owner's servers, or return None while they are not ready."""
    descriptor = os.open(folder / "members.lock", os.O_RDWR | os.O_CREAT, 0o600)
    # The order matters: an owner says that it stops before it waits for the members.
    if _try_lock(descriptor, fcntl.LOCK_SH):
        owner = read_owner(folder)
        if owner and owner.state is State.READY:
            return Membership(descriptor=descriptor, owner=owner)
    os.close(descriptor)
    return None


def read_owner(folder: Path) -> OwnerRecord | None:
    """Return what the living owner says; None where there is none or it has said nothing yet."""
    try:
        data = json.loads((folder / "owner.json").read_text())
        owner = OwnerRecord(**{**data, "role": Role(data["role"]), "state": State(data["state"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return owner if owner.is_alive else None


def _write(folder: Path, owner: OwnerRecord) -> None:
    # It holds passwords, and a reader must never see half of it.
    draft = folder / "owner.json.draft"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(owner), file)
    draft.replace(folder / "owner.json")


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _open(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
