"""TERM and INT: blocked, except where it is safe to stop."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """The agent was asked to stop. Not an Exception, so that no handler of failures catches it."""


def block_signals() -> None:
    """Block TERM, INT and CHLD. Call it once, before any thread or child is started."""
    for number in STOP_SIGNALS:
        signal.signal(number, _raise_stopped)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGCHLD})


def ignore_stop_signals() -> None:
    """Ignore further TERM and INT, since the agent is stopping already."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Stopped in this block when TERM or INT arrives, or at once if one is pending."""
    try:
        # Inside the try, because this call raises if a signal is pending.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def wait_for_child(deadline: float) -> None:
    """Return when a child has changed state or the deadline (monotonic seconds) has passed. Raises Stopped."""
    with interruptible():
        signal.sigtimedwait({signal.SIGCHLD}, max(0.0, deadline - time.monotonic()))


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped(signal.Signals(number).name)
