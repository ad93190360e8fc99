"""Threads that read request bodies, so that a WSGI thread need not wait for one without end."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

logger = logging.getLogger(__name__)


class Reading:
    """A body that is being read."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._ended = threading.Lock()
        self._ended.acquire()
        self.body: bytes | None = None

    def run(self) -> None:
        """Read the body. None remains if the client leaves."""
        try:
            with suppress(OSError):
                self.body = self._read()
        except BaseException:
            # Whatever the server raises: its thread goes on, since the next body waits for it.
            logger.exception("A body could not be read.")
        finally:
            self._ended.release()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, and return whether it has come."""
        if has_ended := self._ended.acquire(timeout=seconds):
            self._ended.release()
        return has_ended


class BodyReaders:
    """Reads bodies in at most this many threads, which are kept: a new one for each body takes as long as an answer.

    A thread is taken until its body ends, which may be long after the request was refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._readings: SimpleQueue[Reading] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._number = 0

    def start(self, read: Callable[[], bytes]) -> Reading | None:
        """Let a thread read a body; None if all of them are waiting for others."""
        if not self._idle.acquire(blocking=False) and not self._add_thread():
            return None
        reading = Reading(read)
        self._readings.put(reading)
        return reading

    def _add_thread(self) -> bool:
        with self._lock:
            if self._number >= self._most:
                return False
            self._number += 1
        try:
            threading.Thread(target=self._serve, daemon=True).start()
        except RuntimeError:
            # The host lets this process have no more.
            with self._lock:
                self._number -= 1
            return False
        return True

    def _serve(self) -> None:
        while True:
            self._readings.get().run()
            self._idle.release()
