"""A server from a wheel, run in the foreground: what the embedded Postgres and Redis have in common."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devserver.processes import wait_until

LOCALHOST = "127.0.0.1"
START_SECONDS = 60.0
_LOG_BYTES = 10 * 1024 * 1024
_PORT_ATTEMPTS = 5
# One segment of Postgres' write-ahead log.
_SCARCE_BYTES = 16 * 1024 * 1024
# What follows a time and a pid in a log.
_TELLING = re.compile(r"(PANIC|FATAL|\berror): .*|.*\bdenied\b.*")
_FULL_DISK = ("No space left on device", "Disk quota exceeded")


class ServerError(Exception):
    """An embedded server can't run; the message tells an operator why and what to do."""


class PortTakenError(ServerError):
    """Somebody took the port between our look and the server's start."""


@dataclass
class Server:
    """A server that we started, and the address under which it is reached."""

    name: str
    folder: Path
    command: list[str]
    url: str
    # TERM would make Postgres wait for its clients; INT cuts them off and writes a checkpoint.
    stop_signal: signal.Signals
    popen_options: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _log_offset: int = 0

    @property
    def log(self) -> Path:
        """Return the file that the server writes to."""
        return self.folder / f"{self.name}.log"

    @property
    def has_exited(self) -> bool:
        """Tell whether the process has ended; this also collects its exit code."""
        return self.process is None or self.process.poll() is not None

    def spawn(self) -> None:
        """Start the process, in a session of its own so that Ctrl-C reaches us and not it."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._log_offset = output.tell()
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
                **self.popen_options,
            )

    def stop(self, *, seconds: float = 5.0) -> None:
        """Stop the server and confirm it: its own signal first, KILL when that takes too long."""
        if self.process is None or self.has_exited:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=5)

    def describe_exit(self) -> str:
        """Return how the server ended, for the one line that says so."""
        code = self.process.returncode if self.process else None
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        words = self._words()
        reason = full_disk_message(self.folder) if _tells_full_disk(words) else _telling_line(words)
        return f"ended: {reason}".rstrip(".")

    def current_error(self) -> ServerError | None:
        """Return what is wrong with the server, None where it runs and has met no full disk."""
        words = self._words()
        if self.has_exited or _tells_full_disk(words):
            return error_from_output(name=self.name, folder=self.folder, text=words)
        return None

    def _words(self) -> str:
        """Return what it wrote since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._log_offset)
            return file.read().decode(errors="replace")


def _tells_full_disk(text: str) -> bool:
    return any(sign in text for sign in _FULL_DISK)


def error_from_output(*, name: str, folder: Path, text: str) -> ServerError:
    """Return a server's own words as an error that says what to do."""
    # Postgres' last words at a full disk may be of what that led to: so ask the disk as well.
    if _tells_full_disk(text) or shutil.disk_usage(folder).free < _SCARCE_BYTES:
        return ServerError(full_disk_message(folder))
    if "Address already in use" in text or "Address in use" in text:
        return PortTakenError(f"{name}: its port is in use by another program.")
    return ServerError(f"{name} could not run: {_telling_line(text)} Its log: {folder / name}.log")


def full_disk_message(folder: Path | str) -> str:
    """Return the sentence for a disk without space."""
    return f"The disk that holds {folder} is full. Free some space and start again; nothing that was stored is lost."


def _telling_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [match.group() for line in lines if (match := _TELLING.search(line))]
    return (telling or lines or ["it said nothing."])[-1]


def start_on_free_port(make: Callable[[int], Server], *, ready: Callable[[Server], bool]) -> Server:
    """Start the server that `make` describes for a port, on a free one, and wait until it answers."""
    for attempt in range(_PORT_ATTEMPTS):
        server = make(free_port())
        server.spawn()
        try:
            _await(server, ready=ready)
        except PortTakenError:
            if attempt + 1 == _PORT_ATTEMPTS:
                raise
        else:
            return server
    raise AssertionError("unreachable")


def _await(server: Server, *, ready: Callable[[Server], bool]) -> None:
    try:
        in_time = wait_until(lambda: server.has_exited or ready(server), seconds=START_SECONDS)
    except BaseException:
        server.stop()
        raise
    if server.has_exited and (complaint := server.current_error()):
        raise complaint
    if not in_time:
        server.stop()
        raise ServerError(f"{server.name} gave no answer for {START_SECONDS:.0f} s. Its log: {server.log}")


def free_port() -> int:
    """Return a port of this host that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])


def find_program(*names: str) -> str | None:
    """Return the first of these programs that is on PATH."""
    return next((path for name in names if (path := shutil.which(name))), None)


def read_or_create_secret(path: Path, *, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """Return the text of a file that only we may read, made once; it is never there half written."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(make() + "\n")
                file.flush()
                os.fsync(file.fileno())
            # A link fails where another process was faster, a rename would replace its secret.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return path.read_text().strip()
