"""What all commands share: the chosen profile, and a client of its server."""

from contextlib import closing
from typing import Annotated

import typer

from slipway.answers import shapes
from slipway.client import Client
from slipway.errors import CommandFailed
from slipway.profiles import server_of
from slipway.texts import one_line

_COMPLETION_SECONDS = 2.0
_MOST_COMPLETED = 200
# The fields of the API whose options have other names.
_FIELDS = {
    "q": "text",
    "subtree": "under",
    "limit": "most",
    "parent_id": "parent",
    "secrets": "secret",
    "secret_sets": "secret_set",
    "labels": "label",
    "budget_limit": "budget_cents",
    "provision_timeout_seconds": "timeout",
    "event_types": "event",
    "runtimes": "runtime",
    "failure_codes": "failure_code",
    "workspace_id": "workspace",
    "options": "option",
}


def client_of(context: typer.Context) -> Client:
    """Return a client of the server that the command talks to. Raises CommandFailed if there is none."""
    client = Client(server_of(profile_of(context)), options=options_of(context))
    context.call_on_close(client.close)
    return client


def options_of(context: typer.Context) -> dict[str, str]:
    """Return the command's options by the fields of the API that they set."""
    options = {str(each.name): max(each.opts, key=len) for each in context.command.params if each.opts[0][0] == "-"}
    return {field: options[name] for field, name in _FIELDS.items() if name in options} | options


def profile_of(context: typer.Context) -> str:
    """Return the name that was given as --profile, "" if none was."""
    return context.find_root().params.get("profile") or ""


def complete_name(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of workspaces for the shell. Names that a shell would read as more than a word are left out."""
    try:
        with closing(Client(server_of(profile_of(context)), timeout_seconds=_COMPLETION_SECONDS)) as client:
            rows = client.pages("/workspaces", {"q": incomplete}, shape=shapes.WORKSPACE, most=_MOST_COMPLETED)
    except CommandFailed:
        return []
    return [row["name"] for row in rows if is_plain_word(row["name"]) and row["name"].startswith(incomplete)]


def is_plain_word(name: str) -> bool:
    """Return whether every shell reads the name as this one word."""
    return name == one_line(name) and all(each.isalnum() or each in "._-" for each in name)


NAME_HELP = "a name, an ID, or the beginning of one"
NameArgument = Annotated[str, typer.Argument(metavar="WORKSPACE", help=NAME_HELP, autocompletion=complete_name)]
NamesArgument = Annotated[list[str], typer.Argument(metavar="WORKSPACE…", help=NAME_HELP, autocompletion=complete_name)]
