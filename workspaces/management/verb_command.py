"""What the commands of the operators' verbs share: they find workspaces, apply the verb, and say what came of it."""

import argparse
import sys
from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workspaces import operations
from workspaces.models import Workspace
from workspaces.overview import printable

# What an operator mistyped, as opposed to what was refused.
_NOTHING_CHANGED = 2
_EPILOG = """examples:
{examples}

exit codes: 0 all done, 1 some were refused (the others are done), 2 nothing was changed
"""


class VerbCommand(BaseCommand):
    """Applies one verb to the workspaces named by id or by unique name; each in a transaction of its own."""

    # How the verb is called once done, as in "2 paused".
    past: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        epilog = _EPILOG.format(examples="\n".join(f"  manage.py {example}" for example in self.examples))
        return super().create_parser(
            prog_name, subcommand, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workspaces", nargs="+", metavar="WORKSPACE", help="a workspace's id, or its unique name")

    def apply(self, workspace_id: UUID, options: dict[str, Any]) -> operations.Done:
        """Apply the verb to one workspace."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        asked_for = _found(options["workspaces"])
        outcome = operations.each(asked_for, lambda workspace_id: self.apply(workspace_id, options), past=self.past)
        for note in outcome.notes:
            self.stdout.write(printable(note))
        self.stdout.write(printable(outcome.sentence))
        if outcome.refused:
            sys.exit(1)


def _found(named: Iterable[str]) -> list[UUID]:
    """Return the ids of those named, each once. Raises CommandError before anything is changed."""
    ids: dict[UUID, None] = {}
    for name in named:
        ids[find(name)] = None
    return list(ids)


def find(name: str) -> UUID:
    """Return the id of the workspace named by its id or unique name. Raises CommandError."""
    rows = Workspace.objects.filter(pk=workspace_id) if (workspace_id := _as_id(name)) else _named(name)
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:10])
    if not ids:
        raise CommandError(
            f"There is no workspace {printable(name)!r}. `manage.py workspaces` lists them.",
            returncode=_NOTHING_CHANGED,
        )
    if len(ids) > 1:
        listed = ", ".join(map(str, ids))
        raise CommandError(f"Several workspaces are named {name!r}: {listed}. Give an id.", returncode=_NOTHING_CHANGED)
    return ids[0]


def _named(name: str) -> Any:
    # A removed one keeps its name, and another may have it since.
    return Workspace.objects.not_removed().filter(name=name.replace("\0", ""))


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
