"""What `ps` and /proc show of a process that was forked for a launch: written over what its parent was started with.

A launch's processes are found by LAUNCH_ID in the environment that /proc shows of them, and a fork without exec shows
its parent's. Standard library only: runs inside the forker.
"""

from collections.abc import Iterable, Mapping

# By these a launch's processes are found. All else that a workspace's environment holds, secrets too, stays unshown.
SHOWN = ("LAUNCH_ID", "WORKSPACE_ID", "WORKSPACE_CONFIG_PATH", "CONFIGS_DIR")
# Two paths at their longest, and some words.
ROOM_BYTES = 2 * 4096 + 512
# The last argument and the only variable that the forker is started with.
PADDING = "x" * ROOM_BYTES
_FIRST_FIELD = 48 - 3


class Room:
    """The memory that the kernel reads for /proc/<pid>/cmdline and /proc/<pid>/environ; a fork has its own."""

    def __init__(self) -> None:
        """Find it. Raises OSError where there is no /proc."""
        with open("/proc/self/stat", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        numbers = list(map(int, fields[_FIRST_FIELD : _FIRST_FIELD + 4]))
        self._arguments, self._environment = tuple(numbers[:2]), tuple(numbers[2:])

    def show(self, arguments: Iterable[str], environment: Mapping[str, str]) -> None:
        """Show these words, and what of this environment is shown at all.

        Nothing may point into the old ones any more: clear os.environ before.
        """
        shown = [f"{name}={environment[name]}" for name in SHOWN if name in environment]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            for (begin, end), words in ((self._arguments, arguments), (self._environment, shown)):
                text = b"".join(word.encode(errors="surrogateescape") + b"\0" for word in words)
                memory.seek(begin)
                memory.write(_fitted(text, end - begin))


def _fitted(text: bytes, size: int) -> bytes:
    # The last byte is NUL: without it the kernel would read on from the arguments into the environment.
    return text[: size - 1].ljust(size, b"\0")
