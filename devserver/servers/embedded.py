"""What the embedded Postgres and Redis share: start a server on a free port, watch it, stop it, explain its errors."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspaces.provisioners.host_processes import wait_until

LOCALHOST = "127.0.0.1"
START_SECONDS = 60.0
_LOG_BYTES = 10 * 1024 * 1024
_PORT_ATTEMPTS = 5
# Less than one segment of Postgres' write-ahead log: as good as full.
_SCARCE_BYTES = 16 * 1024 * 1024
# The part of a log line that names the error, after its time and pid.
_ERROR = re.compile(r"(PANIC|FATAL|\berror): .*|.*\bdenied\b.*")
_FULL_DISK = ("No space left on device", "Disk quota exceeded")


class ServerError(Exception):
    """An embedded server can't run; the message says why and what to do."""


class PortTakenError(ServerError):
    """Another program took the port before the server listened on it."""


@dataclass
class Server(ABC):
    """An embedded server and its URL."""

    name: str
    folder: Path
    command: list[str]
    url: str
    # SIGTERM would make Postgres wait for its clients; SIGINT disconnects them and writes a checkpoint.
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
        """Return whether the process has ended; this also collects its exit code."""
        return self.process is None or self.process.poll() is not None

    def spawn(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C doesn't reach it."""
        self.rotate_log()
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

    def rotate_log(self) -> None:
        """Move a long log to `.log.1`. A running server goes on writing to the emptied file, since it appends."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            # If the disk is full, the old part is lost.
            with suppress(OSError):
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)
            self._log_offset = 0

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the server answers."""

    def wait_until_ready(self) -> None:
        """Wait until the server answers; stop it if it doesn't in time. Raises ServerError."""
        try:
            is_in_time = wait_until(lambda: self.has_exited or self.is_ready(), seconds=START_SECONDS)
        except BaseException:
            self.stop()
            raise
        if self.has_exited and (error := self.current_error()):
            raise error
        if not is_in_time:
            self.stop()
            raise ServerError(f"{self.name} did not answer for {START_SECONDS:.0f} s. Its log: {self.log}")

    def stop(self, *, seconds: float = 5.0) -> None:
        """Stop the server and wait for its end: its own signal first, SIGKILL after this many seconds."""
        if self.process is None or self.has_exited:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=5)

    def describe_exit(self) -> str:
        """Return how the server ended, as the end of a sentence."""
        code = self.process.returncode if self.process else None
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        output = self._output()
        reason = full_disk_message(self.folder) if _is_disk_full(output) else _error_line(output)
        return f"ended: {reason}".rstrip(".")

    def current_error(self) -> ServerError | None:
        """Return the error of a server that has exited or reported a full disk, else None."""
        output = self._output()
        if self.has_exited or _is_disk_full(output):
            return error_from_output(name=self.name, folder=self.folder, text=output)
        return None

    def _output(self) -> str:
        """Return what the server has logged since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._log_offset)
            return file.read().decode(errors="replace")


def _is_disk_full(text: str) -> bool:
    return any(sign in text for sign in _FULL_DISK)


def error_from_output(*, name: str, folder: Path, text: str) -> ServerError:
    """Return an error with a message that says what to do about a server's output."""
    # Postgres may not mention the full disk in its last lines, only what followed from it.
    if _is_disk_full(text) or shutil.disk_usage(folder).free < _SCARCE_BYTES:
        return ServerError(full_disk_message(folder))
    if "Address already in use" in text or "Address in use" in text:
        return PortTakenError(f"{name}: its port is in use by another program.")
    return ServerError(f"{name} could not run: {_error_line(text)} Its log: {folder / name}.log")


def full_disk_message(folder: Path | str) -> str:
    """Return the message about a full disk."""
    return f"The disk that holds {folder} is full. Free some space and start again; nothing that was stored is lost."


def _error_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [match.group() for line in lines if (match := _ERROR.search(line))]
    return (errors or lines or ["it printed nothing."])[-1]


def start_on_free_port(make: Callable[[int], Server]) -> Server:
    """Start the server that `make` returns for a free port, and wait until it is ready. Raises ServerError."""
    for attempt in range(_PORT_ATTEMPTS):
        server = make(free_port())
        server.spawn()
        try:
            server.wait_until_ready()
        except PortTakenError:
            if attempt + 1 == _PORT_ATTEMPTS:
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def free_port() -> int:
    """Return a port of this host on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])


def find_program(*names: str) -> str | None:
    """Return the first of these programs that is on PATH."""
    return next((path for name in names if (path := shutil.which(name))), None)


def read_or_create_secret(path: Path, *, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """Return the text of a file that only this user may read, created on the first call and never seen half written."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(make() + "\n")
                file.flush()
                os.fsync(file.fileno())
            # If another process was faster, a link fails; a rename would replace its secret.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return path.read_text().strip()
