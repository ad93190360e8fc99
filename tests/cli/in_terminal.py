"""Runs a command in a terminal of its own and types once: `python in_terminal.py AFTER TYPED COMMAND…`.

Types TYPED when the screen shows AFTER; where the answer is hidden, when the terminal hides it, since what is typed
before is thrown away, and what is typed afterwards is shown. Prints the screen, and exits as the command does.
"""

import os
import pty
import sys
import termios
import time


def is_shown(terminal):
    """Return whether the terminal shows what is typed."""
    return termios.tcgetattr(terminal)[3] & termios.ECHO


def main(after, typed, *command):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)  # noqa: S606 (in this process, whose terminal it is)
    screen, is_typed = b"", False
    while shown := read(terminal):
        os.write(sys.stdout.fileno(), shown)
        screen += shown
        if not is_typed and after.encode() in screen:
            while "HIDDEN" in os.environ and is_shown(terminal):
                time.sleep(0.01)
            os.write(terminal, typed.encode())
            is_typed = True
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def read(terminal):
    """Return what the command wrote, or nothing once it has ended."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


if __name__ == "__main__":
    main(*sys.argv[1:])
