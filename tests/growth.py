"""How the time that something takes grows with its input: a limit that holds on any machine, busy or not."""

import time


def seconds(call, argument):
    """Return the processor's seconds that a call takes, at best."""
    best = 1e9
    for _ in range(3):
        began = time.process_time()
        call(argument)
        best = min(best, time.process_time() - began)
    return best


def assert_grows_linearly(call, make, *, size):
    """Assert that four times the input takes less than eight times as long; sixteen times, if the time were squared.

    Return the seconds for the large input.
    """
    small, large = make(size), make(4 * size)
    took = seconds(call, large)
    assert took < 8 * seconds(call, small) + 0.05
    return took
