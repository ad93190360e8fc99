"""The terminal of `make up`: our own messages, and the output of the children with their names before each line."""

import os
import threading
from typing import IO

# Cyan, green, yellow, blue, magenta, bright cyan, bright green: readable on dark and light backgrounds.
_COLOURS = (36, 32, 33, 34, 35, 96, 92)
_NAME_WIDTH = 8


class Console:
    """Writes whole lines, one writer at a time."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {}
        self._is_terminal = stream.isatty()
        self._is_coloured = self._is_terminal and "NO_COLOR" not in os.environ

    @property
    def is_terminal_closed(self) -> bool:
        """Return whether our terminal was closed, so that Ctrl-C can't arrive any more."""
        return self._is_terminal and not self._stream.isatty()

    def write(self, text: str = "") -> None:
        """Write a message of our own."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                # The terminal was closed. Stopping must continue without it.
                return

    def write_output(self, name: str, line: str) -> None:
        """Write a line that a child printed."""
        prefix = f"{name:<{_NAME_WIDTH}}|"
        if self._is_coloured:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        self.write(f"{prefix} {line}")
