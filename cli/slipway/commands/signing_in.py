"""`slipway login`, `logout` and `profile`: which servers are known, and with which key."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from slipway import profiles
from slipway.answers import shapes
from slipway.client import Client, is_loopback
from slipway.errors import CommandFailed, ExitCode
from slipway.output import Format as OutputFormat
from slipway.output import OutputOption, say, show_rows, warn
from slipway.profiles import Server
from slipway.session import profile_of
from slipway.values import asking

profile_app = typer.Typer(help="List the known servers, or choose one.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(login)
    app.command()(logout)
    app.add_typer(profile_app, name="profile")


def login(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="the server's address, such as https://slipway.example.org")],
    key_file: Annotated[
        Path | None,
        typer.Option(help="A file with the API key; otherwise it is asked for, or read from a pipe."),
    ] = None,
) -> None:
    """Save a server and an API key as a profile, and use it from now on.

    Create a key with `manage.py api_key create NAME --scope read --scope operate`.
    """
    url = url.rstrip("/")
    server = Server(url=url, key=read_key(key_file))
    with closing(Client(server)) as client:
        parts = urlsplit(url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            warn(f"Warning: {url} is not encrypted. Everyone on the way can read the key.")
        # Asks for something that every operator may read, so that a wrong key is noticed now.
        client.get("/workspaces", shape=[shapes.WORKSPACE], limit=1)
    name = profile_of(context) or profiles.DEFAULT
    place = profiles.save(name, server)
    say(f"Signed in to {url} as the profile {name}. The key is kept in {place}.")


def logout(context: typer.Context) -> None:
    """Delete a profile and its key. The key stays valid until it is revoked on the server."""
    name = profile_of(context) or profiles.current()
    profiles.forget(name)
    say(f"Deleted 1 profile, {name}.")


@profile_app.command("ls")
def list_profiles(output: OutputOption = OutputFormat.TABLE) -> None:
    """List the known servers."""
    rows = [
        {"name": name, "url": url, "is_current": name == profiles.current()} for name, url in profiles.known().items()
    ]
    columns = {
        "": lambda row: "*" if row["is_current"] else "",
        "NAME": lambda row: row["name"],
        "URL": lambda row: row["url"],
    }
    show_rows(rows, columns, output)


@profile_app.command("use")
def use_profile(name: str) -> None:
    """Use a profile from now on."""
    profiles.use(name)
    say(f"Using {name} ({profiles.known()[name]}).")


def read_key(file: Path | None) -> str:
    """Return the key from a file, a pipe or the keyboard. It is never an argument: others can read those."""
    try:
        if file is not None:
            text = file.read_text()
        elif sys.stdin.isatty():
            with asking("The key can't be read: none was given."):
                text = str(typer.prompt("API key", hide_input=True))
        else:
            text = sys.stdin.read(10_000)
    except (OSError, ValueError) as error:
        raise CommandFailed(f"The key can't be read: {error}", ExitCode.WRONG_ARGUMENT) from error
    return profiles.clean_key(text)
