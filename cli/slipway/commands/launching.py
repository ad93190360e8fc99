"""`slipway launch` (and `create`, its other name): a new workspace."""

from pathlib import Path
from typing import Annotated, Any

import typer

from slipway.answers import shapes
from slipway.client import Client
from slipway.errors import CommandFailed, ExitCode
from slipway.finding import find
from slipway.following import follow_launch
from slipway.output import Format, OutputOption, show_once, show_one, show_rows, warn
from slipway.session import client_of
from slipway.values import assignments, check_stdin, parse_yaml, read_file, read_values

ExternalOption = Annotated[bool, typer.Option("--external", help="Its owner runs it and connects it.")]
SecretsOption = Annotated[
    list[str] | None,
    typer.Option(help="The name of a secret. Its value is asked for, or read from a pipe; of several, each is a line."),
]
_TEMPLATE_COLUMNS = {
    "NAME": lambda row: row["id"],
    "RUNTIME": lambda row: row["runtime"],
    "NEEDS": lambda row: ", ".join(map(str, row["required_env"])),
    "PROBLEM": lambda row: row.get("problem", ""),
}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("launch")(launch)
    app.command("create", help="The same as `launch`.")(launch)
    app.command("templates")(list_templates)


def launch(
    context: typer.Context,
    template: Annotated[str, typer.Argument(help="a template of the server, as `slipway templates` lists them")] = "",
    config: Annotated[Path | None, typer.Option(help="A config.yaml instead of a template.")] = None,
    external: ExternalOption = False,
    name: Annotated[str, typer.Option("--name", "-n", help="Its name; that of the template if left out.")] = "",
    role: Annotated[str, typer.Option(help="What it is for.")] = "",
    model: Annotated[str, typer.Option(help="The model, if config.yaml offers several.")] = "",
    parent: Annotated[str, typer.Option(help="The workspace above it.")] = "",
    secret: SecretsOption = None,
    secret_set: Annotated[list[str] | None, typer.Option(help="A set of secrets that it shares.")] = None,
    env_file: Annotated[Path | None, typer.Option(help="A file with NAME=value on each line: secrets.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="team=search")] = None,
    budget_cents: Annotated[int | None, typer.Option(min=0, help="What it may spend in a month.")] = None,
    timeout: Annotated[int | None, typer.Option(min=1, help="How many seconds its boot may take.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Show its steps until it is online or failed.")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Launch a workspace from a template or a config.yaml of your own, or create one that runs elsewhere."""
    check_stdin({"--config": config, "--env-file": env_file}, secret)
    config_text = read_config(template, config, external)
    client = client_of(context)
    body: dict[str, Any] = {
        "name": name or template or name_in(config_text) or "external",
        "template": template,
        "config": config_text,
        "external": external,
        "role": role,
        "model": model,
        "parent_id": find(client, parent)["id"] if parent else None,
        "secrets": read_values(secret or []),
        "secret_sets": secret_set,
        "env_file": read_file(env_file) if env_file else "",
        "labels": assignments(label or [], "label"),
        "budget_limit": budget_cents,
        "provision_timeout_seconds": timeout,
    }
    given = {key: value for key, value in body.items() if value is not False and value not in (None, "", {})}
    created = client.send("POST", "/workspaces", given, shape=shapes.CREATED, keyed=True)
    show_created(client, {"name": body["name"], **created}, output, wait=wait)


def read_config(template: str, config: Path | None, external: bool) -> str:
    """Return the text of config.yaml, "" without one. Raises CommandFailed unless exactly one says what runs."""
    if sum((bool(template), config is not None, external)) != 1:
        why = "Give a template, --config FILE or --external: exactly one of them."
        raise CommandFailed(why, ExitCode.WRONG_ARGUMENT)
    return read_file(config) if config else ""


def name_in(config: str) -> str:
    """Return the name that a config.yaml gives, "" if it gives none. The server says what else is wrong with it."""
    try:
        read = parse_yaml(config, "--config")
        name = str(read.get("name") or "") if isinstance(read, dict) else ""
        name.encode()
    # A ValueError is of a number with too many digits, or of half a surrogate pair; a RecursionError of nested aliases.
    except (CommandFailed, ValueError, RecursionError):
        return ""
    return name


def show_created(client: Client, created: dict[str, Any], output: Format, *, wait: bool) -> None:
    """Show a new workspace, and what is probably not meant in its configuration. With `wait` follow its launch.

    An external workspace has no launch to wait for. What its agent needs is shown only now.
    """
    warnings = created.pop("warnings", [])
    is_followed = wait and "connection" not in created
    if not is_followed or output is not Format.TABLE:
        show_one(created, output)
    for warning in warnings:
        # A server of an earlier release sends sentences.
        text = warning if isinstance(warning, str) else f"{warning['message']} {warning['hint']}"
        warn(f"Warning: {text}".rstrip())
    if is_followed:
        follow_launch(client, created["id"], output)
    elif output is Format.NAME and "connection" in created:
        show_once(created["connection"])


def list_templates(context: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """List what can be launched, and the secrets that each needs."""
    show_rows(client_of(context).get("/templates", shape=[shapes.TEMPLATE]), _TEMPLATE_COLUMNS, output, name="id")
