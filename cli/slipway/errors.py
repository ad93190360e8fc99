"""How the command ends: its exit codes, and the errors that lead to them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code says. Scripts rely on these; cli/README.md lists them."""

    DONE = 0
    # The launch that was waited for did not come online, preflight found problems, or a receiver refused a test.
    FAILED = 1
    # An argument is wrong, or the server refused a value. Nothing has changed. Click uses it for unknown options too.
    WRONG_ARGUMENT = 2
    # No key, a wrong one, or one without the scope.
    NOT_ALLOWED = 3
    # Nothing has this name or ID, or several things have it.
    NOT_FOUND = 4
    # The workspace's status does not allow it, or it changed meanwhile.
    REFUSED = 5
    # The server can't be reached, can't answer now, or answers what no Slipway server does. What was asked for
    # may have been done.
    UNAVAILABLE = 6
    # Its output can't be written, or it has an error of its own. What was asked for may have been done.
    BROKEN = 7
    # Ctrl-C, as Typer answers it. What was begun on the server goes on.
    INTERRUPTED = 130
    # Nobody reads the output any more, as of `slipway logs -f | head -n 1`. Shells show a death by SIGPIPE as this.
    UNREAD = 141


class CommandFailed(Exception):
    """The command ends with this sentence and exit code. `status` is the HTTP status if a server answered."""

    def __init__(self, sentence: str, exit_code: ExitCode, *, status: int = 0) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
        self.status = status
