"""`slipway preflight`: what would keep a configuration from starting, before anything is launched."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from slipway.answers import shapes
from slipway.errors import ExitCode
from slipway.output import Format, encoded, say
from slipway.session import client_of
from slipway.texts import one_line
from slipway.values import check_stdin, read_file

# What GitHub's workflow commands need: docs.github.com/actions/reference/workflow-commands-for-github-actions.
_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY_ESCAPES = _ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})
_OF_VARIABLES = frozenset({"bad_env_file", "not_set", "suspicious_value"})


class ReportFormat(StrEnum):
    """What `-o` takes here: as elsewhere, `name` for the codes, and annotations."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"
    GITHUB = "github"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("preflight")(check_configuration)


def check_configuration(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="a config.yaml; `-` reads it from a pipe")],
    env_file: Annotated[Path | None, typer.Option(help="Its secrets, NAME=value on each line. None is stored.")] = None,
    model: Annotated[str, typer.Option(help="The model, if config.yaml offers several.")] = "",
    runtime: Annotated[str, typer.Option(help="The runtime, instead of the one in config.yaml.")] = "",
    output: Annotated[
        ReportFormat, typer.Option("--output", "-o", help="How to show it: github makes annotations in a workflow.")
    ] = ReportFormat.TABLE,
) -> None:
    """Say whether the server could launch this configuration, with every problem at once. Nothing is created.

    It ends with exit code 1 if there are problems. Warnings keep nothing from starting.
    """
    check_stdin({"FILE": file, "--env-file": env_file})
    body: dict[str, Any] = {"config": read_file(file), "model": model or None, "runtime": runtime or None}
    if env_file:
        body["env_file"] = read_file(env_file)
    report = client_of(context).send("POST", "/workspaces/preflight", body, shape=shapes.PREFLIGHT)
    if output in (ReportFormat.JSON, ReportFormat.YAML):
        typer.echo(encoded(report, Format(output)))
    else:
        show = _LINES[output]
        for severity, found in findings(report):
            say(show(severity, found, str(env_file if env_file and is_in_env_file(found) else file)))
    if not report["ok"]:
        raise typer.Exit(ExitCode.FAILED)
    if output is ReportFormat.TABLE:
        say(f"{file} can be launched.")


def findings(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each problem and warning with its severity."""
    yield from (("error", found) for found in report["problems"])
    yield from (("warning", found) for found in report.get("warnings", []))


def is_in_env_file(found: dict[str, Any]) -> bool:
    """Return whether a finding is about the env file. A config.yaml may have a key of that name, with other codes."""
    return found["code"] in _OF_VARIABLES and str(found["path"]).partition(".")[0] == "env_file"


def text_line(severity: str, found: dict[str, Any], file: str) -> str:
    """Return a finding as compilers write it."""
    place = f"{file}:{found['line']}:{found['column']}" if found["line"] else file
    return one_line(f"{place}: {severity}: {found['message']} {found['hint'] or ''}") + f" [{one_line(found['code'])}]"


def github_line(severity: str, found: dict[str, Any], file: str) -> str:
    """Return a finding as a workflow command."""
    where = {"file": file, "line": found["line"], "col": found["column"], "title": found["code"]}
    properties = ",".join(
        f"{key}={one_line(value).translate(_PROPERTY_ESCAPES)}" for key, value in where.items() if value
    )
    return f"::{severity} {properties}::" + one_line(f"{found['message']} {found['hint'] or ''}").translate(_ESCAPES)


def code_line(_severity: str, found: dict[str, Any], _file: str) -> str:
    """Return the code of a finding."""
    return one_line(found["code"])


_LINES = {ReportFormat.TABLE: text_line, ReportFormat.NAME: code_line, ReportFormat.GITHUB: github_line}
