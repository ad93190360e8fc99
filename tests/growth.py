"""How the time that something takes grows with its input: a limit that holds on any machine, busy or not."""

import gc
import time


def seconds(call, argument):
    """Return the processor's seconds that a call takes, at best."""
    return min(_measure(call, argument) for _ in range(3))


def _measure(call, argument):
    # As timeit does: a collection takes as long as everything else that the process holds is large.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.process_time()
        call(argument)
        return time.process_time() - began
    finally:
        if was_enabled:
            gc.enable()


def assert_grows_linearly(call, make, *, size):
    """Assert that four times the input takes less than eight times as long; sixteen times, if the time were squared.

    Return the seconds for the large input.
    """
    small, large = make(size), make(4 * size)
    # Turn about: for some of the time others may use the processor too, which makes it slower.
    measured = [(_measure(call, small), _measure(call, large)) for _ in range(3)]
    for_small, for_large = map(min, zip(*measured, strict=True))
    assert for_large < 8 * for_small + 0.05
    return for_large


def at_most(limit):
    """Return a limit in seconds, or a longer one if this processor is slow or busy.

    An ordinary one counts to a million in 0.03 seconds.
    """
    return limit * max(1.0, seconds(lambda number: sum(1 for _ in range(number)), 1_000_000) / 0.03)
