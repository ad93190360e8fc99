"""What `manage.py` does before Django loads: complete the environment of a machine that has no servers set up."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import environ
from cryptography.fernet import Fernet

from devserver.ownership import (
    Membership,
    OwnerRecord,
    Ownership,
    Role,
    State,
    read_owner,
    try_to_join,
    try_to_own,
)
from devserver.servers.embedded import Server, secret_file
from devserver.servers.embedded_postgres import start_postgres
from devserver.servers.embedded_redis import start_redis
from devserver.stale_processes import stop_stale_processes

PROJECT = Path(__file__).resolve().parent.parent
_QUIET_SECONDS = 1.0
_START_LIMIT_SECONDS = 180.0
_MEMBER_LIMIT_SECONDS = 3600.0
_POLL_SECONDS = 0.1


class LocalSetupError(Exception):
    """The command can't have what it needs on this machine; the message says why and what to do."""


class LocalServers:
    """The servers that this process owns, and its hold on the data folder."""

    def __init__(self, ownership: Ownership) -> None:
        self.ownership = ownership
        self.servers: list[Server] = []

    def start(self) -> None:
        """Start the servers that nobody named, and name them to Django and to our children."""
        for variable, start in (("DATABASE_URL", start_postgres), ("REDIS_URL", start_redis)):
            if not os.environ.get(variable):
                server = start(self.ownership.folder / start.__name__.removeprefix("start_"))
                self.servers.append(server)
                os.environ[variable] = server.url

    def announce_ready(self) -> None:
        """Let other commands use the servers."""
        urls = {"database_url": os.environ["DATABASE_URL"], "redis_url": os.environ["REDIS_URL"]}
        self.ownership.announce(State.READY, **urls)

    def stop(self) -> None:
        """Stop the servers; a command waits for those who joined them, `make up` has told everyone to go."""
        self.ownership.announce(State.STOPPING)
        try:
            if self.ownership.owner.role is Role.COMMAND:
                self._wait_for_members()
        finally:
            for server in reversed(self.servers):
                server.stop()

    def _wait_for_members(self) -> None:
        if self.ownership.wait_for_members(seconds=_QUIET_SECONDS):
            return
        _say("Done. Other commands still use the servers that this one started: waiting for them to end.")
        self.ownership.wait_for_members(seconds=_MEMBER_LIMIT_SECONDS)


# What this process owns; the command `up` reads it.
local_servers: LocalServers | None = None


# --- The environment -----------------------------------------------------------------------------


def read_dotenv() -> None:
    """Read `.env` in the project's root, where there is one; what the environment says wins."""
    if (PROJECT / ".env").exists():
        environ.Env.read_env(PROJECT / ".env")


def needs_embedded_servers() -> bool:
    """Tell whether an embedded server has to stand in for one that nobody named."""
    return not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))


def prepare_data_dir() -> Path:
    """Return the folder of local data, made for us alone."""
    folder = Path(os.environ.get("DATA_DIR") or PROJECT / ".data").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise LocalSetupError(f"The data folder {folder} can't be made: {error.strerror}. {_OTHER_FOLDER}") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise LocalSetupError(f"The data folder {folder} is not writable for this user. {_OTHER_FOLDER}")
    os.environ["DATA_DIR"] = str(folder)
    return folder


_OTHER_FOLDER = "Set DATA_DIR to a folder of your own."


def set_keys(folder: Path) -> None:
    """Set the keys that are unset from files in the folder, made on the first run."""
    makers: dict[str, Callable[[], str]] = {
        "SECRET_KEY": lambda: secrets.token_urlsafe(48),
        "SECRETS_KEYS": lambda: Fernet.generate_key().decode(),
    }
    for name, make in makers.items():
        if not os.environ.get(name):
            os.environ[name] = secret_file(folder / name.lower(), make=make)


def set_placeholder_settings() -> None:
    """Fill in what settings require for a command that uses none of it, such as `help`."""
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    os.environ.setdefault("SECRETS_KEYS", Fernet.generate_key().decode())
    # Port 1 is nobody's: what should use these after all fails at once.
    os.environ.setdefault("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
    os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")


# --- Owning and joining --------------------------------------------------------------------------


@contextmanager
def complete_environment(
    *, role: Role, command: str, address: str = "", before_start: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Complete the environment for one command: own the servers, or share those of the owner.

    `before_start` is asked once the lock is ours and leftovers are gone, and may refuse by raising.
    """
    folder = prepare_data_dir()
    if needs_embedded_servers():
        set_keys(folder)
    with ExitStack() as stack:
        hold = _own_or_join(folder, role=role, command=command, address=address)
        stack.callback(hold.release)
        if isinstance(hold, Membership):
            os.environ.setdefault("DATABASE_URL", hold.owner.database_url)
            os.environ.setdefault("REDIS_URL", hold.owner.redis_url)
            if hold.owner.platform_url:
                os.environ.setdefault("PLATFORM_URL", hold.owner.platform_url)
        else:
            stack.enter_context(_running(hold, before_start=before_start))
        yield


@contextmanager
def _running(ownership: Ownership, *, before_start: Callable[[], None]) -> Iterator[None]:
    global local_servers
    if number := stop_stale_processes(ownership.folder):
        _say(f"The last run did not end cleanly: stopped {number} processes that it left behind.")
    before_start()
    local_servers = LocalServers(ownership)
    try:
        local_servers.start()
        # `make up` still has to migrate and to start its children.
        if ownership.owner.role is Role.COMMAND:
            local_servers.announce_ready()
        yield
    finally:
        local_servers.stop()
        local_servers = None


def _own_or_join(folder: Path, *, role: Role, command: str, address: str) -> Ownership | Membership:
    began, has_spoken = time.monotonic(), False
    while True:
        if ownership := try_to_own(folder, role=role, command=command, address=address):
            return ownership
        if role is Role.COMMAND and (membership := try_to_join(folder)):
            return membership
        owner, waited = read_owner(folder), time.monotonic() - began
        _refuse_second_up(owner, role=role)
        if waited > _QUIET_SECONDS and owner and not has_spoken:
            _say(f"Waiting for `{owner.command}` (pid {owner.pid}), which {_doing(owner)}.")
            has_spoken = True
        if waited > _START_LIMIT_SECONDS and role is Role.COMMAND:
            raise LocalSetupError(f"The owner of {folder} has not become ready for {waited:.0f} s: {_describe(owner)}.")
        time.sleep(_POLL_SECONDS)


def _refuse_second_up(owner: OwnerRecord | None, *, role: Role) -> None:
    if role is Role.UP and owner and owner.role is Role.UP and owner.state is not State.STOPPING:
        raise LocalSetupError(f"Slipway already runs at {owner.address} (pid {owner.pid}); stop that one first.")


def _doing(owner: OwnerRecord) -> str:
    doing = {State.STARTING: "is starting the servers", State.STOPPING: "is stopping the servers"}
    return doing.get(owner.state, "uses the servers")


def _describe(owner: OwnerRecord | None) -> str:
    return f"`{owner.command}`, pid {owner.pid}" if owner else "it left no record"


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()
