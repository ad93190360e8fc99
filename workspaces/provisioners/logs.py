"""Cut the end of a log to a size that fits a row, an event and a page."""

import os
from pathlib import Path

from workspaces.provisioners.files import open_regular

TAIL_BYTES = 8192


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
