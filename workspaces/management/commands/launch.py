"""`manage.py launch`: create a workspace from a template or a file, and follow its boot."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from postgres.clock import database_now
from workspaces import tasks
from workspaces.configuration import catalog, env_files
from workspaces.configuration.parser import MAX_CONFIG_BYTES
from workspaces.lifecycle.transitions import RestartPolicy
from workspaces.management.launch_progress import follow
from workspaces.models import Workspace
from workspaces.overview import admin_url
from workspaces.services.launching import create
from workspaces.workers import LAUNCH_QUEUE, NoWorker, require_worker

EPILOG = """examples:
  manage.py launch echo --wait
  manage.py launch hermes --name nightly --secret HERMES_API_KEY=… --wait
  manage.py launch --config my.yaml --env-file .env --timeout 900

exit codes: 0 launched (with --wait: online), 1 it did not get online, 2 nothing was created, 130 interrupted
"""
# What an operator mistyped, as opposed to what went wrong later.
_NOTHING_CREATED = 2
_INTERRUPTED = 130


class Command(BaseCommand):
    help = "Launch a workspace from a catalog template or from a config.yaml of your own."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("template", nargs="?", default="", help="a catalog template's name")
        parser.add_argument("--config", type=Path, metavar="FILE", help="a config.yaml, in place of a template")
        parser.add_argument("--name", default="", help="the workspace's name (default: the one in its config.yaml)")
        parser.add_argument("--model", default="", help="the model, where the config.yaml offers several")
        parser.add_argument(
            "--secret",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a secret of it; may be given repeatedly",
        )
        parser.add_argument("--env-file", type=Path, metavar="FILE", help="NAME=VALUE lines, each a secret of it")
        parser.add_argument("--timeout", type=int, metavar="SECONDS", help="how long its boot may take")
        parser.add_argument(
            "--hibernate-after", type=int, metavar="MINUTES", help="hibernate it after so long without a task"
        )
        parser.add_argument(
            "--restart",
            choices=RestartPolicy.values,
            default=RestartPolicy.ON_FAILURE,
            help="what happens where its process ends though it was online (default: %(default)s)",
        )
        parser.add_argument("--wait", action="store_true", help="show its progress until it is online or failed")

    is_created = False

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._launch_and_wait(options)
        except KeyboardInterrupt:
            goes_on = "No longer waiting; the launch goes on. `manage.py workspaces` shows how far it is."
            self.stderr.write(goes_on if self.is_created else "Nothing was created.")
            sys.exit(_INTERRUPTED)

    def _launch_and_wait(self, options: dict[str, Any]) -> None:
        try:
            workspace = self._launch(_request(options))
        except (NoWorker, env_files.BadAssignment, create.InvalidWorkspace) as error:
            raise CommandError(str(error), returncode=_NOTHING_CREATED) from error
        self.stdout.write(f"Launching 1 workspace: {workspace.name} ({workspace.pk}), {admin_url(workspace)}")
        if options["wait"]:
            self._wait(workspace.pk)

    def _wait(self, workspace_id: UUID) -> None:
        end = follow(workspace_id, out=self.stdout)
        if not end.is_online:
            self.stderr.write(end.sentence)
            sys.exit(1)
        self.stdout.write(end.sentence)

    def _launch(self, request: create.CreateRequest) -> Workspace:
        # Asked last before anything is created: an operator's own mistakes are told without this wait.
        require_worker(LAUNCH_QUEUE)
        with transaction.atomic():
            workspace = create.create(request, now=database_now()).workspace
            transaction.on_commit(self._remember)
            tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
        return workspace

    def _remember(self) -> None:
        self.is_created = True


def _request(options: dict[str, Any]) -> create.CreateRequest:
    template, file = options["template"], options["config"]
    if bool(template) == bool(file):
        known = ", ".join(each.id for each in catalog.list_templates()) or "none"
        wrong = "not both" if template else "and neither was given"
        raise CommandError(
            f"Give a template or --config FILE, {wrong}. Templates: {known}.", returncode=_NOTHING_CREATED
        )
    return create.CreateRequest(
        name=options["name"],
        template=template,
        config=_config(file) if file else "",
        model=options["model"],
        provision_timeout_seconds=options["timeout"],
        hibernation_idle_minutes=options["hibernate_after"],
        restart_policy=RestartPolicy(options["restart"]),
        secrets=_secrets(options["secret"], options["env_file"]),
    )


def _config(file: Path) -> str:
    text = _text(file, limit=MAX_CONFIG_BYTES)
    if not text.strip():
        raise CommandError(f"{file} is empty.", returncode=_NOTHING_CREATED)
    return text


def _secrets(given: Sequence[str], env_file: Path | None) -> dict[str, str]:
    secrets: dict[str, str] = {}
    if env_file:
        try:
            secrets |= env_files.parse_assignments(_text(env_file, limit=env_files.MAX_TEXT_BYTES))
        except env_files.BadAssignment as error:
            raise CommandError(f"{env_file}: {error}", returncode=_NOTHING_CREATED) from error
    pairs = [
        env_files.parse_assignment(text, place=f"--secret number {number}")
        for number, text in enumerate(given, start=1)
    ]
    return secrets | dict(pairs)


def _text(file: Path, *, limit: int) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(limit + 1)
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.", returncode=_NOTHING_CREATED) from error
    if len(content) > limit:
        raise CommandError(f"{file} is larger than {limit // 1024} KiB.", returncode=_NOTHING_CREATED)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is no UTF-8 text (byte {error.start}).", returncode=_NOTHING_CREATED) from error
