"""Collects what Apprise logs: the return value of its `notify` gives no reason for a failure."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def apprise_warnings() -> Iterator[list[str]]:
    """Give a list that receives the warnings that Apprise logs in this thread during the block.

    They are whole, since they may hold the URL: half of a secret could not be masked.
    """
    handler = _ThreadHandler()
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)


class _ThreadHandler(logging.Handler):
    """Collects the warnings of the thread that created it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.messages.append(record.getMessage())
