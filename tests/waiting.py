"""How tests wait: for a condition and never for a time, with a patience that only a test that is wrong uses up."""

import time

# Far beyond what a stalled machine takes, and below pytest's timeout for a test.
PATIENCE_SECONDS = 60.0


def wait_until(holds, *, seconds=PATIENCE_SECONDS, told=lambda: ""):
    """Wait until the condition holds and return what it returned; fail where it doesn't, with what `told` tells."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, f"waited {seconds} s in vain\n{told()}"
        time.sleep(0.02)
    return value
