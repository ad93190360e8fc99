"""`slipway channel`: where events go."""

from pathlib import Path
from typing import Annotated, Any

import typer

from slipway.answers import shapes
from slipway.client import Client
from slipway.errors import CommandFailed, ExitCode
from slipway.finding import choose, find
from slipway.output import Columns, Format, OutputOption, show_done, show_once, show_one, show_rows
from slipway.session import client_of
from slipway.texts import one_line
from slipway.values import assignments, check_stdin, confirm, read_file, read_values, read_yaml

channel_app = typer.Typer(help="List, add, change, test and remove channels for events.", no_args_is_help=True)
_COLUMNS: Columns = {
    "NAME": lambda row: row["name"],
    "KIND": lambda row: row["kind"],
    "STATE": lambda row: row["state"],
    "BACKLOG": lambda row: str(row["backlog"]),
    "DEAD": lambda row: str(row["dead_letters"]),
    "ID": lambda row: str(row["id"]),
    "LAST ERROR": lambda row: row["last_error"],
}
ChannelArgument = Annotated[str, typer.Argument(metavar="CHANNEL", help="a name, its beginning, or an ID")]
OptionOption = Annotated[
    list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="An option of its kind, in YAML.")
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        metavar="NAME",
        help="An option that is asked for, or read from a pipe; of several, each is a line.",
    ),
]
EventOption = Annotated[list[str] | None, typer.Option("--event", "-e", help="Only events with this name.")]
RuntimeOption = Annotated[list[str] | None, typer.Option(help="Only events of workspaces with this runtime.")]
CodeOption = Annotated[list[str] | None, typer.Option("--failure-code", help="Only failures with this code.")]
WorkspaceOption = Annotated[str, typer.Option("--workspace", "-w", help="Only this workspace and its descendants.")]
FileOption = Annotated[Path | None, typer.Option(help="YAML with these and all other fields of the API.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(channel_app, name="channel")
    for command in (pause, resume, enable):
        channel_app.command()(command)


@channel_app.command("ls")
def list_channels(context: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """List all channels, with their state and what waits."""
    show_rows(client_of(context).pages("/channels", shape=shapes.CHANNEL), _COLUMNS, output)


@channel_app.command("get")
def get_channel(context: typer.Context, channel: ChannelArgument, output: OutputOption = Format.TABLE) -> None:
    """Show a channel. Encrypted options are never shown."""
    show_one(find_channel(client_of(context), channel), output)


@channel_app.command("add")
def add_channel(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="webhook, chat, email, redis_stream or log")],
    name: str,
    option: OptionOption = None,
    secret: SecretOption = None,
    event: EventOption = None,
    runtime: RuntimeOption = None,
    failure_code: CodeOption = None,
    workspace: WorkspaceOption = "",
    from_file: FileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Add a channel. A webhook's signing secret is shown once, in the answer."""
    client = client_of(context)
    filters = {"event_types": event, "runtimes": runtime, "failure_codes": failure_code}
    body = body_of(client, from_file, option, secret, workspace, filters)
    body |= {"kind": kind, "name": name}
    show_stored(client.send("POST", "/channels", body, shape=shapes.STORED_CHANNEL, keyed=True), output)


@channel_app.command("set")
def change_channel(
    context: typer.Context,
    channel: ChannelArgument,
    name: Annotated[str, typer.Option(help="Its new name.")] = "",
    option: OptionOption = None,
    secret: SecretOption = None,
    event: EventOption = None,
    runtime: RuntimeOption = None,
    failure_code: CodeOption = None,
    workspace: WorkspaceOption = "",
    from_file: FileOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Change a channel. What is not named stays. A webhook that moves to another host gets a new signing secret."""
    client = client_of(context)
    filters = {"event_types": event, "runtimes": runtime, "failure_codes": failure_code}
    body = body_of(client, from_file, option, secret, workspace, filters) | ({"name": name} if name else {})
    show_stored(client.send("PATCH", path_of(client, channel), body, shape=shapes.STORED_CHANNEL), output)


def show_stored(stored: dict[str, Any], output: Format) -> None:
    """Show a channel as it was stored. Its new signing secret, if it has one, is shown only now."""
    show_one(stored, output)
    if output is Format.NAME and stored["signing_secret"]:
        show_once({"signing_secret": stored["signing_secret"]})


@channel_app.command("rm")
def remove_channel(
    context: typer.Context,
    channel: ChannelArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Remove a channel with its deliveries, also those that are not sent yet."""
    client = client_of(context)
    found = find_channel(client, channel)
    confirm("remove", f"the channel {one_line(found['name'])} ({found['id']})", yes=yes)
    client.send("DELETE", f"/channels/{found['id']}", shape=shapes.DONE)
    show_done(f"Removed 1 channel, {found['name']}.", [{"id": found["id"], "name": found["name"]}], output)


@channel_app.command("test")
def send_test(context: typer.Context, channel: ChannelArgument, output: OutputOption = Format.TABLE) -> None:
    """Send a test message now, and show the receiver's answer. Exit code 1 if it was not accepted."""
    client = client_of(context)
    answer = client.send("POST", f"{path_of(client, channel)}/test", shape=shapes.CHANNEL_TEST)
    show_one(answer, output, name="answer")
    if not answer["is_accepted"]:
        raise typer.Exit(ExitCode.FAILED)


def pause(context: typer.Context, channel: ChannelArgument, output: OutputOption = Format.TABLE) -> None:
    """Stop sending. Events are still queued."""
    act(context, channel, "pause", output)


def resume(context: typer.Context, channel: ChannelArgument, output: OutputOption = Format.TABLE) -> None:
    """Send what has been queued, in order."""
    act(context, channel, "resume", output)


def enable(context: typer.Context, channel: ChannelArgument, output: OutputOption = Format.TABLE) -> None:
    """Queue events again for a channel that was disabled, and send what was queued before."""
    act(context, channel, "enable", output)


@channel_app.command("redrive")
def redrive(
    context: typer.Context,
    channel: ChannelArgument,
    since: Annotated[str, typer.Option(help="Only those of events since this time, such as 2026-01-31T12:00Z.")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Send the dead letters of a channel again."""
    client = client_of(context)
    found = find_channel(client, channel)
    body = {"since": since} if since else {}
    answer = client.send("POST", f"/channels/{found['id']}/redrive", body, shape=shapes.REDRIVEN)
    done = {"id": found["id"], "name": found["name"], **answer}
    show_done(f"{answer['redriven']} dead letters are sent again.", [done], output)


@channel_app.command("rotate")
def rotate(context: typer.Context, channel: ChannelArgument, output: OutputOption = Format.TABLE) -> None:
    """Sign with a new secret, which is shown once. For a day the old one signs as well."""
    client = client_of(context)
    answer = client.send("POST", f"{path_of(client, channel)}/rotate", shape=shapes.ROTATED, keyed=True)
    show_one(answer, output, name="signing_secret")


def act(context: typer.Context, channel: str, verb: str, output: Format) -> None:
    """Run a verb on a channel, and show its state."""
    client = client_of(context)
    show_rows([client.send("POST", f"{path_of(client, channel)}/{verb}", shape=shapes.CHANNEL)], _COLUMNS, output)


def find_channel(client: Client, text: str) -> dict[str, Any]:
    """Return the channel that a text means. Raises CommandFailed if it means none or several."""
    return choose(client.pages("/channels", shape=shapes.CHANNEL), text, what="channel")


def path_of(client: Client, text: str) -> str:
    """Return the path of the channel that a text means."""
    return f"/channels/{find_channel(client, text)['id']}"


def body_of(
    client: Client,
    file: Path | None,
    options: list[str] | None,
    secrets: list[str] | None,
    workspace: str,
    filters: dict[str, list[str] | None],
) -> dict[str, Any]:
    """Return the fields that are set, those of the file first. Raises CommandFailed."""
    check_stdin({"--from-file": file}, secrets)
    body: dict[str, Any] = read_yaml(read_file(file), str(file)) if file else {}
    if not isinstance(body, dict):
        raise CommandFailed(f"{file} does not hold fields.", ExitCode.WRONG_ARGUMENT)
    texts = assignments(options or [], "option")
    given: dict[str, Any] = {name: read_yaml(text, f"--option {name}") for name, text in texts.items()}
    given |= read_values(secrets or [])
    if given:
        if not isinstance(of_file := body.get("options", {}), dict):
            raise CommandFailed(f"{file}: options is no mapping.", ExitCode.WRONG_ARGUMENT)
        body["options"] = of_file | given
    if workspace:
        body["workspace_id"] = find(client, workspace)["id"]
    return body | {name: values for name, values in filters.items() if values}
