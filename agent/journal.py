"""The agent's log on standard output, and the end of it, kept for the report of a failure."""

import os
import threading
import time

TAIL_BYTES = 8192


class Journal:
    """Writes what the agent does and what its children print. A closed standard output is not an error."""

    def __init__(self) -> None:
        self._tail = b""
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Write one line with the time in UTC. Never pass the values of environment variables."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._write(f"{stamp} agent: {text}\n".encode(errors="replace"))

    def copy_from(self, descriptor: int) -> threading.Thread:
        """Copy what arrives at the descriptor until its writers are gone, in a thread that ends then."""

        def copy() -> None:
            with open(descriptor, "rb", buffering=0) as source:
                while chunk := source.read(65_536):
                    self._write(chunk)

        thread = threading.Thread(target=copy, daemon=True)
        thread.start()
        return thread

    def tail(self) -> str:
        """Return the last 8 KiB, cut on a character, without NULs."""
        with self._lock:
            text = self._tail.decode(errors="replace").replace("\0", "").lstrip("\ufffd")
        return text.encode()[-TAIL_BYTES:].decode(errors="ignore")

    def _write(self, chunk: bytes) -> None:
        with self._lock:
            self._tail = (self._tail + chunk)[-TAIL_BYTES:]
            try:
                while chunk:
                    chunk = chunk[os.write(1, chunk) :]
            except OSError:
                # The log's reader is gone or its disk is full. The workspace continues without a log.
                pass
