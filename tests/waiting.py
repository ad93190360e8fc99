"""Wait for conditions, never for a time. Only a failing test waits as long as the limit."""

import time

# Longer than a busy machine may stand still, and shorter than pytest's timeout for a test.
PATIENCE_SECONDS = 120.0


def wait_until(holds, *, seconds=PATIENCE_SECONDS, describe=lambda: ""):
    """Wait until `holds()` is true and return its value; fail after `seconds`, with the text of `describe()`."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, f"waited {seconds} s in vain\n{describe()}"
        time.sleep(0.02)
    return value
