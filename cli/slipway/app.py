"""The command `slipway`, with all its commands and the way it ends."""

import sys
from typing import Annotated

import typer

from slipway.commands import channel, events, launching, listing, logs, preflight, secret, signing_in, top, verbs
from slipway.errors import CommandFailed
from slipway.output import warn

app = typer.Typer(
    name="slipway",
    help="Operate the workspaces of a Slipway server.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong argument, 3 not allowed, 4 not found, 5 refused, 6 unavailable, "
    "130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    profile: Annotated[
        str, typer.Option("--profile", "-p", envvar="SLIPWAY_PROFILE", help="The server to talk to.")
    ] = "",
) -> None:
    """Operate the workspaces of a Slipway server."""


for _module in (signing_in, listing, launching, verbs, logs, events, secret, preflight, channel, top):
    _module.add_to(app)


def main() -> None:
    """Run the command, and exit with one of the codes in `ExitCode`."""
    try:
        app(prog_name="slipway")
    except CommandFailed as error:
        warn(error)
        sys.exit(error.exit_code)
