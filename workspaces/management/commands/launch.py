"""`manage.py launch`: create a workspace from a template or a file, and show its progress."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from agent.texts import printable
from events.channels.notification import admin_url
from postgres.clock import database_now
from workspaces import tasks
from workspaces.configuration import env_files, listed_templates
from workspaces.configuration.parser import MAX_CONFIG_BYTES
from workspaces.lifecycle.transitions import RestartPolicy
from workspaces.management.arguments import (
    NOTHING_CREATED,
    add_secret_arguments,
    read_secrets,
    read_text,
    warn_of_visible_secrets,
)
from workspaces.management.examples import CommandWithExamples
from workspaces.management.launch_progress import follow_launch
from workspaces.services.core.fields import InvalidWorkspace
from workspaces.services.launching import create
from workspaces.workers import LAUNCH_QUEUE, NoWorker, require_worker

EPILOG = """examples:
  manage.py launch                        (lists the templates)
  manage.py launch echo --wait
  manage.py launch hermes --name nightly --secret HERMES_API_KEY --wait
  manage.py launch --config my.yaml --env-file .env --timeout 900

exit codes: 0 launched (with --wait: online) or listed, 1 it did not come online, 2 nothing was created, 130 interrupted
"""
_INTERRUPTED = 130


class Command(CommandWithExamples):
    help = "Launch a workspace from a catalog template or from your own config.yaml."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        of_every_command = vars(parser.parse_args([]))
        parser.add_argument("template", nargs="?", help="the name of a catalog template")
        parser.add_argument("--config", type=Path, metavar="FILE", help="a config.yaml instead of a template")
        parser.add_argument("--name", help="the workspace's name (default: the name in config.yaml)")
        parser.add_argument("--model", help="the model, if config.yaml offers several")
        add_secret_arguments(parser)
        parser.add_argument("--timeout", type=int, metavar="SECONDS", help="how long the boot may take")
        parser.add_argument(
            "--hibernate-after", type=int, metavar="MINUTES", help="hibernate it after this time without a task"
        )
        parser.add_argument(
            "--restart",
            choices=RestartPolicy.values,
            default=RestartPolicy.ON_FAILURE,
            help="what to do if the process ends while the workspace is online (default: %(default)s)",
        )
        parser.add_argument("--wait", action="store_true", help="show the progress until it is online or failed")

        defaults = vars(parser.parse_args([])).items()
        self.defaults = {name: value for name, value in defaults if name not in of_every_command}

    is_created = False

    def handle(self, *args: Any, **options: Any) -> None:
        if all(options[name] == value for name, value in self.defaults.items()):
            self.stdout.write(known_templates())
            return
        try:
            self.launch(options)
        except KeyboardInterrupt:
            text = "Stopped waiting; the launch goes on. See `manage.py workspaces` for its progress."
            self.stderr.write(text if self.is_created else "Nothing was created.")
            sys.exit(_INTERRUPTED)

    def launch(self, options: dict[str, Any]) -> None:
        """Create the workspace and follow its launch if asked to. Exits with 1 if it does not come online."""
        if warning := warn_of_visible_secrets(options["secret"]):
            self.stderr.write(warning)
        try:
            request = create_request(options)
            create.check_request(request)
            # Last, so that errors in the arguments are reported without this wait.
            require_worker(LAUNCH_QUEUE)
            created = self.create_workspace(request)
        except InvalidWorkspace as error:
            fields = error.fields
            if "env_file" in fields:
                fields["env_file"] = f"{options['env_file']}: {fields['env_file']}"
            raise CommandError(" ".join(fields.values()), returncode=NOTHING_CREATED) from error
        except NoWorker as error:
            raise CommandError(str(error), returncode=NOTHING_CREATED) from error
        for found in created.warnings:
            self.stderr.write(printable(f"Warning: {found}"))
        workspace = created.workspace
        page = admin_url("workspaces_workspace_change", workspace.pk)
        self.stdout.write(f"Launching 1 workspace: {workspace.name} ({workspace.pk}), {page}")
        if not options["wait"]:
            return
        result = follow_launch(workspace.pk, out=self.stdout)
        if not result.is_online:
            self.stderr.write(result.text)
            sys.exit(1)
        self.stdout.write(result.text)

    def create_workspace(self, request: create.CreateRequest) -> create.Created:
        def remember() -> None:
            self.is_created = True

        with transaction.atomic():
            created = create.create(request, now=database_now())
            transaction.on_commit(remember)
            tasks.enqueue_launches(created.workspace.backend, now=database_now())
        return created


def create_request(options: dict[str, Any]) -> create.CreateRequest:
    """Return what the options ask for. Raises CommandError."""
    template, file, env_file = options["template"] or "", options["config"], options["env_file"]
    if bool(template) == bool(file):
        wrong = "not both" if template else "and neither was given"
        raise CommandError(
            f"Give a template or --config FILE, {wrong}. {known_templates()}", returncode=NOTHING_CREATED
        )
    config = read_text(file, limit=MAX_CONFIG_BYTES) if file else ""
    if file and not config.strip():
        raise CommandError(f"{file} is empty.", returncode=NOTHING_CREATED)
    return create.CreateRequest(
        name=options["name"] or "",
        template=template,
        config=config,
        model=options["model"] or "",
        provision_timeout_seconds=options["timeout"],
        hibernation_idle_minutes=options["hibernate_after"],
        restart_policy=RestartPolicy(options["restart"]),
        secrets=read_secrets(options["secret"], options["secret_file"]),
        env_file=read_text(env_file, limit=env_files.MAX_TEXT_BYTES) if env_file else "",
        by="manage.py",
    )


def known_templates() -> str:
    """Return the names of the templates that can be launched, then a line for each of the others that says why not."""
    templates = listed_templates.list_templates()
    usable = ", ".join(each.id for each in templates if not each.problem) or "none"
    bad = [f"The template {each.id} can't be used: {each.problem}" for each in templates if each.problem]
    return printable("\n".join([f"Templates: {usable}.", *bad]))
