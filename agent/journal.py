"""The agent's log on standard output, and the end of it, kept for the report of a failure."""

import os
import threading
import time

# The platform masks secrets before it cuts, so it gets more than the 8 KiB that it keeps and the longest secret. In
# JSON, a byte takes up to six, so this stays below the platform's limit of 1 MiB.
TAIL_BYTES = 131_072


class Journal:
    """Writes what the agent does and what its children print. A closed standard output is not an error."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._is_cut = False
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
        """Return the last 128 KiB without NULs, and without a line at its beginning that is cut."""
        with self._lock:
            raw, is_cut = bytes(self._tail[-TAIL_BYTES:]), self._is_cut or len(self._tail) > TAIL_BYTES
        text = raw.decode(errors="replace").replace("\0", "").lstrip("\ufffd")
        return text[text.find("\n", 0, len(text) // 2) + 1 :] if is_cut else text

    def _write(self, chunk: bytes) -> None:
        with self._lock:
            self._tail += chunk
            if len(self._tail) > 2 * TAIL_BYTES:
                del self._tail[:-TAIL_BYTES]
                self._is_cut = True
            try:
                while chunk:
                    chunk = chunk[os.write(1, chunk) :]
            except OSError:
                # The log's reader is gone or its disk is full. The workspace continues without a log.
                pass
