"""Being told to stop: TERM and INT are held back and let through only where nothing can be torn apart."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKED = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """Somebody asked the agent to end. No Exception: nothing that handles failures may swallow it."""


def hold_back() -> None:
    """Block TERM, INT and CHLD; to be called once, before any thread or child is started."""
    for number in ASKED:
        signal.signal(number, _raise_stopped)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*ASKED, signal.SIGCHLD})


def ignore() -> None:
    """Let further requests to stop pass unheard, while the agent is stopping already."""
    for number in ASKED:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Stopped inside this block as soon as somebody asks, or at once if somebody has asked before."""
    try:
        # Inside the try: it is this very call that raises when somebody asked before.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)


def until_child_or(deadline: float) -> None:
    """Return when a child has changed or the deadline (monotonic seconds) has passed."""
    with interruptible():
        signal.sigtimedwait({signal.SIGCHLD}, max(0.0, deadline - time.monotonic()))


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped(signal.Signals(number).name)
