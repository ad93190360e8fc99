"""`manage.py preflight FILE`: every problem of a config.yaml at once, for people, programs and GitHub's annotations."""

import json
import os.path
import posixpath
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from agent.texts import printable
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.effective import warn_of_missing_files
from workspaces.configuration.parser import inspect_config
from workspaces.configuration.preflight import examine
from workspaces.configuration.secret_files import given_secrets
from workspaces.configuration.template_files import CONFIG_FILE
from workspaces.configuration.variables import read_values
from workspaces.management.arguments import read_text
from workspaces.management.examples import CommandWithExamples

EPILOG = """examples:
  manage.py preflight config.yaml --env-file .env
  manage.py preflight catalog/hermes --here
  manage.py preflight config.yaml --format github

Without --here it looks at these files only: it needs neither a database nor workers.

exit codes: 0 it can be launched, 1 there are problems, 2 a file can't be read
"""
# As much as the API takes: a smaller file that is still too large is a problem like others.
_MAX_FILE_BYTES = 2**20
_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY_ESCAPES = _ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A diagnostic, its severity (`error` or `warning`), and the file that it is about."""

    severity: str
    file: Path
    diagnostic: Diagnostic

    def as_text(self) -> str:
        """Return it as compilers write it."""
        at = self.diagnostic
        place = f"{self.file}:{at.line}:{at.column}" if at.line else str(self.file)
        return printable(f"{place}: {self.severity}: {at.message} {at.hint}".rstrip() + f" [{at.code}]")

    def as_github(self) -> str:
        """Return it as a workflow command: docs.github.com/actions/reference/workflow-commands-for-github-actions."""
        at = self.diagnostic
        where = {"file": printable(str(self.file)), "line": at.line, "col": at.column, "title": at.code}
        properties = ",".join(
            f"{name}={str(value).translate(_PROPERTY_ESCAPES)}" for name, value in where.items() if value
        )
        text = printable(f"{at.message} {at.hint}".rstrip()).translate(_ESCAPES)
        return f"::{self.severity} {properties}::{text}"

    def as_json(self) -> dict[str, Any]:
        """Return it as a dict of JSON's values."""
        return self.diagnostic.as_json() | {"file": str(self.file)}


class Command(CommandWithExamples):
    help = "Check a config.yaml and the variables it needs, without launching anything."
    epilog = EPILOG
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="a config.yaml, or the folder of one")
        parser.add_argument("--env-file", type=Path, metavar="FILE", help="NAME=VALUE lines, the workspace's secrets")
        parser.add_argument("--model", default="", help="the model, if config.yaml offers several")
        parser.add_argument("--runtime", default="", help="the runtime, instead of the one in config.yaml")
        parser.add_argument("--format", choices=["text", "json", "github"], default="text")
        parser.add_argument(
            "--here",
            action="store_true",
            help="count the global secrets too, and ask this Slipway's backend and workers",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # Path.is_dir raises for a name that is too long, and beneath a folder that can't be read.
        file: Path = options["file"] / CONFIG_FILE if os.path.isdir(options["file"]) else options["file"]
        text = read_text(file, limit=_MAX_FILE_BYTES)
        env_file: Path | None = options["env_file"]
        env_text = read_text(env_file, limit=_MAX_FILE_BYTES) if env_file else ""
        checked = inspect_config(text)
        checked = warn_of_missing_files(checked, existing_files(file.parent, checked.config.get("prompt_files")))
        is_here = options["here"]
        report = examine(
            checked,
            stored=read_values(()) if is_here else {},
            given=given_secrets({}, env_file=env_text),
            model=options["model"],
            runtime=options["runtime"],
            backend=settings.PROVISIONER if is_here else "",
        )
        findings = [
            Finding(severity=severity, file=(env_file or file) if each.is_in_env_file else file, diagnostic=each)
            for severity, found in (("error", report.problems), ("warning", report.warnings))
            for each in found
        ]
        self.show(findings, style=options["format"])
        if not report.ok:
            sys.exit(1)

    def show(self, findings: list[Finding], *, style: str) -> None:
        """Write the findings in one of the formats."""
        problems = [each for each in findings if each.severity == "error"]
        warnings = [each for each in findings if each.severity == "warning"]
        if style == "json":
            shown = {
                "ok": not problems,
                "problems": [each.as_json() for each in problems],
                "warnings": [each.as_json() for each in warnings],
            }
            self.stdout.write(json.dumps(shown, indent=2))
            return
        for each in findings:
            self.stdout.write(each.as_github() if style == "github" else each.as_text())
        if style == "text":
            numbers = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}, {len(warnings)} warning"
            self.stdout.write(f"{numbers}{'' if len(warnings) == 1 else 's'}.")


def existing_files(folder: Path, names: object) -> set[str]:
    """Return the normalised names of those files that are in the folder. A name that no file can have is not there."""
    texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return {
        posixpath.normpath(name)
        for name in texts
        # As above, Path.is_file may raise.
        if not posixpath.normpath(name).startswith(("/", "../")) and os.path.isfile(folder / name)
    }
