"""The commands of the operations, made from their table: `manage.py pause`, `manage.py resume` and so on."""

import sys
from types import ModuleType
from typing import Any, ClassVar
from uuid import UUID

from django.core.management import get_commands
from django.core.management.base import CommandError, CommandParser

from agent.texts import printable
from workspaces.management.examples import CommandWithExamples
from workspaces.models import Workspace
from workspaces.operations import OPERATIONS, Operation, run_each

_NOTHING_CHANGED = 2
_EXIT_CODES = "exit codes: 0 all done, 1 some were refused (the others are done), 2 nothing was changed"


class OperationCommand(CommandWithExamples):
    """Runs one operation on the given workspaces, in one transaction each."""

    operation: ClassVar[Operation]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workspaces", nargs="+", metavar="WORKSPACE", help="a workspace's ID or unique name")
        for option in self.operation.options:
            parser.add_argument(option.flag, action="store_true", help=option.help)

    def handle(self, *args: Any, **options: Any) -> None:
        # All are looked up before any is changed.
        workspace_ids = list(dict.fromkeys(find_workspace_id(name) for name in options["workspaces"]))
        chosen = {option.name: options[option.name] for option in self.operation.options}
        result = run_each(self.operation, workspace_ids, by="manage.py", options=chosen)
        for name, token in result.tokens:
            self.stdout.write(printable(f"New token of {name} (shown only once): {token}"))
        self.stdout.write(printable(result.summary))
        if result.refused:
            sys.exit(1)


def find_workspace_id(text: str) -> UUID:
    """Return the ID of the workspace with this ID or unique name. Raises CommandError."""
    try:
        rows = Workspace.objects.filter(pk=UUID(text))
    except ValueError:
        # A removed workspace keeps its name, and another one may have it now.
        rows = Workspace.objects.not_removed().filter(name=text.replace("\0", ""))
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:10])
    if not ids:
        raise CommandError(
            f"There is no workspace {printable(text)!r}. `manage.py workspaces` lists them.",
            returncode=_NOTHING_CHANGED,
        )
    if len(ids) > 1:
        listed = ", ".join(map(str, ids))
        raise CommandError(f"Several workspaces are named {text!r}: {listed}. Give an ID.", returncode=_NOTHING_CHANGED)
    return ids[0]


def register_commands() -> None:
    """Let Django find a command for each operation, without a file for each.

    Django imports `<app>.management.commands.<name>` for a command that `get_commands()` lists. Both are cached, so
    they are filled here, once the apps are loaded.
    """
    for operation in OPERATIONS:
        if operation.is_admin_only:
            continue
        examples = [f"  manage.py {operation.name} {arguments}" for arguments in operation.examples]
        module = ModuleType(f"workspaces.management.commands.{operation.name}")
        attributes = {
            "__module__": module.__name__,
            "operation": operation,
            "help": operation.help,
            "epilog": "\n".join(["examples:", *examples, "", _EXIT_CODES]),
        }
        module.Command = type("Command", (OperationCommand,), attributes)  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        get_commands()[operation.name] = "workspaces"
