"""`manage.py prune`: delete what is older than the settings keep."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from postgres.clock import database_now
from workspaces import retention
from workspaces.management.examples import CommandWithExamples


class Command(CommandWithExamples):
    help = (
        "Delete what is older than the settings RETENTION_…_DAYS allow: events, deliveries, launches, removed "
        "workspaces and so on. Celery beat does the same, a little at a time."
    )
    epilog = "exit codes: 0 all done, 1 something could not be deleted (the rest is done)"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry_run = options["dry_run"]
        done = "would be deleted" if is_dry_run else "deleted"
        failed = False
        for pruned in (retention.old_rows if is_dry_run else retention.prune)(now=database_now()):
            age = f" older than {pruned.rule.days} days" if pruned.rule.setting else " of no more use"
            self.stdout.write(f"{pruned.number} {pruned.rule.name}{age} {done}.")
            if pruned.error:
                failed = True
                self.stderr.write(f"Not all {pruned.rule.name} could be deleted: {pruned.error}")
        if failed:
            raise CommandError("Something could not be deleted; see above.", returncode=1)
