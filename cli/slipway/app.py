"""The command `slipway`, with all its commands and the way it ends."""

import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn, TextIO

import typer

from slipway import __version__
from slipway.commands import channel, events, launching, listing, logs, preflight, secret, signing_in, top, verbs
from slipway.errors import CommandFailed, ExitCode
from slipway.output import warn

app = typer.Typer(
    name="slipway",
    help="Operate the workspaces of a Slipway server.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong argument, 3 not allowed, 4 not found, 5 refused, 6 unavailable, "
    "7 broken, 130 interrupted, 141 unread.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(context: typer.Context, is_asked: bool) -> None:
    """Show the version, and end. While the shell completes a line, do nothing: it would offer the version."""
    if is_asked and not context.resilient_parsing:
        typer.echo(f"slipway {__version__}")
        raise typer.Exit


@app.callback()
def options(
    profile: Annotated[
        str, typer.Option("--profile", "-p", envvar="SLIPWAY_PROFILE", help="The server to talk to.")
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Operate the workspaces of a Slipway server."""


for _module in (signing_in, listing, launching, verbs, logs, events, secret, preflight, channel, top):
    _module.add_to(app)


def main() -> None:
    """Run the command, and exit with one of the codes in `ExitCode`."""
    open_closed_streams()
    try:
        run()
    except SystemExit as end:
        # Typer and Rich end with 1 if nobody reads the output any more.
        if isinstance(end.__context__, BrokenPipeError):
            abandon(sys.stdout, sys.stderr)
            sys.exit(ExitCode.UNREAD)
        raise


def open_closed_streams() -> None:
    """Let streams that the shell has closed, as by `>&-`, lead nowhere. Python has None for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open until the end)


def run() -> None:
    """Run the command, and exit with a sentence for what went wrong."""
    try:
        app(prog_name="slipway")
    except CommandFailed as error:
        fail(error, error.exit_code)
    except RecursionError:
        fail("The server's answer is nested too deeply.", ExitCode.UNAVAILABLE)
    except Exception as error:
        if os.environ.get("SLIPWAY_DEBUG"):
            raise
        abandon(sys.stdout)
        is_own = not isinstance(error, OSError)
        why = f"{type(error).__name__}: {error}. With SLIPWAY_DEBUG=1 it shows where." if is_own else error
        fail(f"slipway can't go on: {why}", ExitCode.BROKEN)


def fail(sentence: object, code: ExitCode) -> NoReturn:
    """Exit with a sentence, or without it if it can't be written."""
    try:
        warn(sentence)
    except OSError:
        abandon(sys.stderr)
    sys.exit(code)


def abandon(*streams: TextIO) -> None:
    """Send what these streams still hold nowhere. Python would try once more to write it, and exit with 120."""
    with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        for stream in streams:
            os.dup2(nowhere.fileno(), stream.fileno())
