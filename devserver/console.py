"""The terminal of `make up`: our own sentences, and the children's lines with their names before them."""

import os
import threading
from typing import IO

# Cyan, green, yellow, blue, magenta, and the bright ones after them: each readable on dark and on light.
_COLOURS = (36, 32, 33, 34, 35, 96, 92)
_WIDTH = 8


class Console:
    """Writes whole lines, one writer at a time."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {}
        self._is_terminal = stream.isatty()
        self._is_coloured = self._is_terminal and "NO_COLOR" not in os.environ

    @property
    def has_lost_terminal(self) -> bool:
        """Tell whether the terminal that we began on was closed; nobody can press Ctrl-C any more."""
        return self._is_terminal and not self._stream.isatty()

    def say(self, text: str = "") -> None:
        """Write a sentence of our own."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                # The terminal was closed: there is nobody left to tell, and stopping must go on.
                return

    def relay(self, name: str, line: str) -> None:
        """Write a line of a child."""
        self.say(f"{self._prefix(name)} {line}")

    def _prefix(self, name: str) -> str:
        prefix = f"{name:<{_WIDTH}}|"
        if not self._is_coloured:
            return prefix
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        return f"\x1b[{colour}m{prefix}\x1b[0m"
