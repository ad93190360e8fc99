"""Logs of limited size in two files, and the end of one, cut to a size that fits a row, an event and a page."""

import os
from contextlib import suppress
from pathlib import Path

from workspaces.provisioners.files import new_file, open_regular

TAIL_BYTES = 8192


class Log:
    """A log of limited size in two files: at half of the limit, the file is renamed to `.1` and a new one starts."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._half = max(most_bytes // 2, 1)
        self._descriptor = new_file(path)
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Write the chunk. Output that can't be written is dropped."""
        while chunk:
            if self._size >= self._half:
                self._rotate()
            room = self._half - self._size
            part, chunk = chunk[:room], chunk[room:]
            self._size += len(part)
            with suppress(OSError):
                os.write(self._descriptor, part)

    def _rotate(self) -> None:
        self._size = 0
        try:
            self._path.replace(f"{self._path}.1")
            fresh = new_file(self._path)
        except OSError:
            # No new file can be made, so empty the open one instead of letting it grow.
            os.ftruncate(self._descriptor, 0)
        else:
            os.close(self._descriptor)
            self._descriptor = fresh


def tail_of(path: Path) -> str:
    """Return the last 8 KiB of a log that is rotated into `name` and the older `name.1`, or "" if there is no log."""
    newest = _last_bytes(path)
    if len(newest) < TAIL_BYTES:
        newest = _last_bytes(path.with_name(f"{path.name}.1")) + newest
    return clean_tail(newest[-TAIL_BYTES:])


def clean_tail(raw: bytes) -> str:
    """Return the last 8 KiB as text, cut between characters and without NULs, which Postgres refuses."""
    text = raw.decode(errors="replace").replace("\0", "").lstrip("\ufffd")
    return text.encode()[-TAIL_BYTES:].decode(errors="ignore")


def _last_bytes(path: Path) -> bytes:
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read(TAIL_BYTES)
    except OSError:
        return b""
