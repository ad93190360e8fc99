"""Files that a workspace's processes can replace: opened without following links and without blocking."""

import errno
import os
import stat
import subprocess
from pathlib import Path

_DELETE_SECONDS = 30.0


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file and return its descriptor. Raises OSError for a link, a FIFO, a folder or a device."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "Not a regular file", str(path))


def write_replacing(path: Path, text: str, mode: int) -> None:
    """Write the file atomically, in place of whatever has its name. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    with open(new_file(fresh, mode), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def new_file(path: Path, mode: int = 0o600) -> int:
    """Open a new file to append to it, in place of whatever has its name, and return its descriptor. Raises OSError."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND | os.O_CLOEXEC
    return os.open(path, flags, mode)


def read_bounded(path: Path, most_bytes: int) -> bytes | None:
    """Return the first bytes of a regular file, or None if there is no such file. Raises OSError."""
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(most_bytes)
    except FileNotFoundError:
        return None


def delete_tree(path: Path) -> None:
    """Delete the folder, with read-only folders in it. Remove symlinks, never their targets. Raises OSError.

    This runs `rm`, which unlike `shutil.rmtree` can delete folders nested thousands of times. Its time is limited: call
    it again to go on.
    """
    remove, make_writable = ("rm", "-rf", "--", str(path)), ("chmod", "-R", "u+rwX", "--", str(path))
    # `chmod` follows a link that it is given, and none that it finds.
    steps = [remove] if path.is_symlink() else [remove, make_writable, remove]
    problem = ""
    while steps and os.path.lexists(path):
        try:
            done = subprocess.run(steps.pop(0), capture_output=True, timeout=_DELETE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise TimeoutError(errno.ETIMEDOUT, f"it takes longer than {_DELETE_SECONDS} s", str(path)) from None
        problem = done.stderr.decode(errors="replace").partition("\n")[0]
    if os.path.lexists(path):
        raise OSError(errno.EIO, problem, str(path))


def describe_error(error: Exception) -> str:
    """Return what an operator reads about an error of the system: what is wrong, and with which file."""
    if not isinstance(error, OSError):
        return str(error)
    place = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{place}"
