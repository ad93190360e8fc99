"""Logs of limited size in two files, and the end of one."""

import os
import time
from contextlib import suppress
from pathlib import Path

from agent.texts import without_cut_line
from workspaces.provisioners.base import LogPart
from workspaces.provisioners.files import new_file, open_regular, read_bounded, write_replacing

# As much as the process backend keeps by default: what says that a boot failed may stand at the beginning.
WINDOW_BYTES = 1_048_576
_READ_ATTEMPTS, _ROTATION_SECONDS = 3, 0.01
# Behind the end of any log.
_BEYOND = 2**63 - 1


class Log:
    """A log of limited size in two files: at half of the limit, the file is renamed to `.1` and a new one starts."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._half = max(most_bytes // 2, 1)
        self._descriptor = new_file(path)
        self._size = 0
        self._start = 0

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
        self._start += self._size
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
        with suppress(OSError):
            # With the file's number, so that a reader in between does not take it for that of another file.
            place = f"{os.fstat(self._descriptor).st_ino} {self._start}"
            write_replacing(self._path.with_name(f"{self._path.name}.start"), place, 0o600)


def tail_of(path: Path) -> str:
    """Return the last MiB of a log that is rotated into `name` and the older `name.1`, or "" if there is no log.

    It is longer than what is kept of it, so that secrets are masked before it is cut. Without NULs, which Postgres
    refuses, and without the line at its beginning that is cut.
    """
    newest = _last_bytes(path)
    older = _last_bytes(path.with_name(f"{path.name}.1")) if len(newest) < WINDOW_BYTES else b""
    text = (older + newest)[-WINDOW_BYTES:].decode(errors="replace").replace("\0", "").lstrip("\ufffd")
    # The older half may begin inside of a line, too.
    return without_cut_line(text) if older or len(newest) == WINDOW_BYTES else text


def part_of(path: Path, *, offset: int, most: int) -> LogPart:
    """Return bytes of a log from an offset on, or from what is still kept. Raises OSError unless there is no log."""
    older_path = path.with_name(f"{path.name}.1")
    # In this order, since a rotation makes the second one of the first.
    is_there = os.path.lexists(path) or os.path.lexists(older_path)
    for _ in range(_READ_ATTEMPTS if is_there else 0):
        with suppress(FileNotFoundError), open(open_regular(path), "rb") as newest:
            found = os.fstat(newest.fileno())
            start = _start_of(path, found.st_ino)
            if start is not None:
                older_size = older_path.lstat().st_size if start else 0
                size = start + found.st_size
                begin = min(max(offset, start - older_size), size)
                data = b""
                if begin < start:
                    with open(open_regular(older_path), "rb") as older:
                        older.seek(begin - (start - older_size))
                        data = older.read(min(most, start - begin))
                newest.seek(max(begin - start, 0))
                return LogPart(start=begin, data=data + newest.read(most - len(data)), size=size)
        # It is just being rotated.
        time.sleep(_ROTATION_SECONDS)
    return LogPart(start=offset, data=b"", size=offset)


def size_of(path: Path) -> int | None:
    """Return how many bytes were written to a log, or None if there is none. Raises OSError."""
    part = part_of(path, offset=_BEYOND, most=0)
    return None if part.start == _BEYOND else part.size


def _last_bytes(path: Path) -> bytes:
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - WINDOW_BYTES))
            return file.read(WINDOW_BYTES)
    except OSError:
        return b""


def _start_of(path: Path, number: int) -> int | None:
    """Return how many bytes were written before the file with this number began; None if that isn't known yet."""
    place = read_bounded(path.with_name(f"{path.name}.start"), 64)
    if place is None:
        return None if os.path.lexists(path.with_name(f"{path.name}.1")) else 0
    words = place.decode(errors="replace").split()
    is_right = len(words) == 2 and all(word.isascii() and word.isdecimal() for word in words)
    return int(words[1]) if is_right and int(words[0]) == number else None
