"""Which process owns a data folder and its servers: a lock that the kernel frees, and a record of its holder."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

import psutil
from filelock import FileLock, ReadWriteLock, Timeout

from workspaces.provisioners.host_processes import is_alive, start_time, wait_until


class Role(StrEnum):
    """How long a process owns the servers."""

    # `make up` or `make demo`: until it is stopped.
    UP = "up"
    # Any other command: until it ends.
    COMMAND = "command"


class State(StrEnum):
    """The state of the owner's servers."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"

    @property
    def activity(self) -> str:
        """Return what the owner does, as the end of a sentence."""
        return "uses the servers" if self is State.READY else f"is {self.value} the servers"


@dataclass(frozen=True, kw_only=True)
class OwnerRecord:
    """What the owner writes down for other processes."""

    pid: int
    # In seconds after the host's boot: another process may get the same pid later.
    started_at: float
    role: Role
    command: str
    state: State = State.STARTING
    # Where the admin is; empty for a command.
    address: str = ""
    # Where agents reach the web server: workspaces that a command launches must report to it.
    platform_url: str = ""
    database_url: str = ""
    redis_url: str = ""


class Ownership:
    """The held lock on a data folder. Its holder may start servers in the folder."""

    def __init__(self, folder: Path, *, lock: FileLock, owner: OwnerRecord) -> None:
        self.folder = folder
        self.owner = owner
        self.lock = lock
        _write_record(folder, owner)

    def announce(self, state: State, *, database_url: str = "", redis_url: str = "") -> None:
        """Tell other processes the state of the servers and, once they are ready, their addresses."""
        self.owner = replace(
            self.owner,
            state=state,
            database_url=database_url or self.owner.database_url,
            redis_url=redis_url or self.owner.redis_url,
        )
        _write_record(self.folder, self.owner)

    def wait_for_members(self, *, seconds: float) -> bool:
        """Wait until no other process uses our servers; return whether that happened in time."""
        lock = ReadWriteLock(self.folder / "members.lock")

        def is_unused() -> bool:
            try:
                with lock.write_lock(blocking=False):
                    return True
            except Timeout:
                return False

        # Asked again and again: SQLite, which holds this lock, doesn't hear Ctrl-C while it waits.
        return wait_until(is_unused, seconds=seconds)

    def release(self) -> None:
        """Let another process own the folder."""
        with suppress(FileNotFoundError):
            (self.folder / "owner.json").unlink()
        self.lock.release()


class Membership:
    """A share in another process's servers. An owner that is a command waits for us before it stops them."""

    def __init__(self, *, lock: ReadWriteLock, owner: OwnerRecord) -> None:
        self.owner = owner
        self._lock = lock

    def release(self) -> None:
        """Tell the owner that we no longer need the servers."""
        self._lock.release()


def try_to_own(folder: Path, *, role: Role, command: str, address: str = "") -> Ownership | None:
    """Take the lock of a data folder, or return None if another process holds it."""
    lock = FileLock(folder / "owner.lock", mode=0o600, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    owner = OwnerRecord(
        pid=os.getpid(),
        started_at=start_time(psutil.Process()),
        role=role,
        command=command,
        address=address,
        platform_url=os.environ.get("PLATFORM_URL", "") if role is Role.UP else "",
    )
    return Ownership(folder, lock=lock, owner=owner)


def try_to_join(folder: Path) -> Membership | None:
    """Take a share in the owner's servers, or return None while they are not ready."""
    lock = ReadWriteLock(folder / "members.lock")
    try:
        lock.acquire_read(blocking=False)
    except Timeout:
        return None
    # Only now read the record: an owner announces that it stops before it looks for members.
    owner = read_owner(folder)
    if owner and owner.state is State.READY:
        return Membership(lock=lock, owner=owner)
    lock.release()
    return None


def read_owner(folder: Path) -> OwnerRecord | None:
    """Return the record of the living owner; None if there is no owner or it has written nothing yet."""
    try:
        data = json.loads((folder / "owner.json").read_text())
        owner = OwnerRecord(**{**data, "role": Role(data["role"]), "state": State(data["state"])})
        process = psutil.Process(owner.pid)
        return owner if is_alive(process) and start_time(process) == owner.started_at else None
    except (FileNotFoundError, ValueError, TypeError, KeyError, psutil.NoSuchProcess):
        return None


def _write_record(folder: Path, owner: OwnerRecord) -> None:
    # It holds passwords, and readers must never see half of it.
    draft = folder / "owner.json.draft"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(owner), file)
    draft.replace(folder / "owner.json")
