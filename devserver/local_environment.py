"""What `manage.py` does before Django loads: complete the environment of a machine that has no servers configured."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.fernet import Fernet

from devserver.ownership import Membership, Ownership, Role, State, read_owner, try_to_join, try_to_own
from devserver.servers.embedded import Server, read_or_create_secret
from devserver.servers.embedded_postgres import start_postgres
from devserver.servers.embedded_redis import start_redis
from devserver.stale_processes import stop_stale_processes
from workspaces.configuration.env_files import BadAssignment, parse_assignments

PROJECT = Path(__file__).resolve().parent.parent
_OTHER_FOLDER = "Set DATA_DIR to a folder of your own."
_QUIET_SECONDS = 1.0
_START_LIMIT_SECONDS = 180.0
_MEMBER_LIMIT_SECONDS = 3600.0
_POLL_SECONDS = 0.1


class LocalSetupError(Exception):
    """The command can't have what it needs on this machine; the message says why and what to do."""


class LocalServers:
    """The embedded servers that this process owns, and its lock on the data folder."""

    def __init__(self, ownership: Ownership) -> None:
        self.ownership = ownership
        self.servers: list[Server] = []

    def start(self) -> None:
        """Start a server for each URL that is unset, and set the URL for Django and for our children."""
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
        """Stop the servers. A command first waits for the commands that use them too; `make up` doesn't wait."""
        try:
            # If the folder was deleted, nobody else can find the servers.
            if not self.ownership.folder.exists():
                return
            self.ownership.announce(State.STOPPING)
            is_command = self.ownership.owner.role is Role.COMMAND
            if is_command and not self.ownership.wait_for_members(seconds=_QUIET_SECONDS):
                _print("Done. Other commands still use the servers that this one started: waiting for them to end.")
                self.ownership.wait_for_members(seconds=_MEMBER_LIMIT_SECONDS)
        finally:
            for server in reversed(self.servers):
                server.stop()


# The servers of this process; None if it owns none. `make up` supervises them.
local_servers: LocalServers | None = None


# --- The environment -----------------------------------------------------------------------------


def read_dotenv() -> None:
    """Read `.env` in the project's root, if there is one. Variables that are already set win."""
    path = PROJECT / ".env"
    if not path.exists():
        return
    try:
        values = parse_assignments(path.read_text(encoding="utf-8"))
    except (BadAssignment, UnicodeDecodeError) as error:
        raise LocalSetupError(f"{path}: {error}") from None
    for name, value in values.items():
        os.environ.setdefault(name, value)


def needs_embedded_servers() -> bool:
    """Return whether DATABASE_URL or REDIS_URL is unset."""
    return not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))


def prepare_data_dir() -> Path:
    """Return the folder for local data, created for this user alone. Raises LocalSetupError."""
    folder = Path(os.environ.get("DATA_DIR") or PROJECT / ".data").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise LocalSetupError(f"The data folder {folder} can't be created: {error.strerror}. {_OTHER_FOLDER}") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise LocalSetupError(f"The data folder {folder} is not writable for this user. {_OTHER_FOLDER}")
    os.environ["DATA_DIR"] = str(folder)
    return folder


def set_keys(folder: Path) -> None:
    """Set the keys that are unset from files in the folder, which the first run creates."""
    makers: dict[str, Callable[[], str]] = {
        "SECRET_KEY": lambda: secrets.token_urlsafe(48),
        "SECRETS_KEYS": lambda: Fernet.generate_key().decode(),
    }
    for name, make in makers.items():
        if not os.environ.get(name):
            os.environ[name] = read_or_create_secret(folder / name.lower(), make=make)


def set_placeholder_settings() -> None:
    """Set what the settings require for a command that uses none of it, such as `help`."""
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    os.environ.setdefault("SECRETS_KEYS", Fernet.generate_key().decode())
    # Nothing listens on port 1, so a command that connects after all fails at once.
    os.environ.setdefault("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
    os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")


# --- Owning and sharing the servers --------------------------------------------------------------


@contextmanager
def complete_environment(
    *, role: Role, command: str, address: str = "", before_start: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Complete the environment for one command: start servers, or share those of the folder's owner.

    `before_start` is called once we own the folder and stale processes are stopped; it may raise to refuse the start.
    """
    folder = prepare_data_dir()
    if needs_embedded_servers():
        set_keys(folder)
    hold = _own_or_join(folder, role=role, command=command, address=address)
    try:
        if isinstance(hold, Membership):
            owner = hold.owner
            os.environ.setdefault("DATABASE_URL", owner.database_url)
            os.environ.setdefault("REDIS_URL", owner.redis_url)
            if owner.platform_url:
                os.environ.setdefault("PLATFORM_URL", owner.platform_url)
            yield
        else:
            with _servers_running(hold, before_start=before_start):
                yield
    finally:
        hold.release()


@contextmanager
def _servers_running(ownership: Ownership, *, before_start: Callable[[], None]) -> Iterator[None]:
    global local_servers
    if number := stop_stale_processes(ownership.folder):
        _print(f"The last run did not end cleanly: stopped {number} processes that it left behind.")
    before_start()
    local_servers = LocalServers(ownership)
    try:
        local_servers.start()
        # `make up` announces it later: it still has to migrate and to start its children.
        if ownership.owner.role is Role.COMMAND:
            local_servers.announce_ready()
        yield
    finally:
        local_servers.stop()
        local_servers = None


def _own_or_join(folder: Path, *, role: Role, command: str, address: str) -> Ownership | Membership:
    began, has_reported = time.monotonic(), False
    while True:
        if ownership := try_to_own(folder, role=role, command=command, address=address):
            return ownership
        if role is Role.COMMAND and (membership := try_to_join(folder)):
            return membership
        owner, waited = read_owner(folder), time.monotonic() - began
        if role is Role.UP and owner and owner.role is Role.UP and owner.state is not State.STOPPING:
            raise LocalSetupError(f"Slipway already runs at {owner.address} (pid {owner.pid}); stop that one first.")
        if waited > _QUIET_SECONDS and owner and not has_reported:
            _print(f"Waiting for `{owner.command}` (pid {owner.pid}), which {owner.state.activity}.")
            has_reported = True
        if waited > _START_LIMIT_SECONDS and role is Role.COMMAND:
            name = f"`{owner.command}`, pid {owner.pid}" if owner else "it left no record"
            raise LocalSetupError(f"The owner of {folder} has not become ready for {waited:.0f} s: {name}.")
        time.sleep(_POLL_SECONDS)


def _print(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
