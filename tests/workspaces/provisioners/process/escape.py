"""An agent's program that tries to get away: it clears its environment, leaves its session and forks twice.

`escape.py FILE HOW`: the process that got away writes its pid to FILE, and then waits, ignores TERM or passes its place
on to a child again and again.
"""

import os
import signal
import sys
import time

_, path, how = sys.argv


def write_pid():
    with open(f"{path}.new", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{path}.new", path)


def get_away():
    os.setsid()
    if os.fork():
        os._exit(0)
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write_pid()
    while how == "restless":
        if os.fork():
            os._exit(0)
        write_pid()
    time.sleep(600)


if "PATH" in os.environ:
    os.execve(sys.executable, [sys.executable, *sys.argv], {})  # noqa: S606
if not os.fork():
    get_away()
time.sleep(600)
