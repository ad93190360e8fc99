"""`manage.py secret`: set, list and delete secrets; re-encrypt them with a new key."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from agent.texts import printable
from workspaces.access import secrets
from workspaces.access.secret_sets import UnknownSet, create_set, find_set
from workspaces.key_rotation import Rotation, count_rows, rotate_keys
from workspaces.management.arguments import read_text, read_value
from workspaces.management.examples import CommandWithExamples
from workspaces.management.operation_command import find_workspace_id
from workspaces.models import Secret
from workspaces.services.core import secret_changes

EPILOG = """examples:
  manage.py secret set OPENAI_API_KEY                       # asks, or reads the standard input to its end
  manage.py secret set TLS_KEY --workspace nightly --from-file key.pem
  manage.py secret set HUB_TOKEN --set research < token.txt  # creates the set if there is none
  manage.py secret list --format json
  manage.py secret delete OPENAI_API_KEY --workspace nightly
  manage.py secret rotate-keys

exit codes: 0 done, 1 rotate-keys found what no key can decrypt, 2 nothing was changed
"""
_NOTHING_CHANGED = 2
_MOST_NAMED = 20


class Command(CommandWithExamples):
    help = "Set, list or delete secrets, or re-encrypt them with the first of SECRETS_KEYS. A value is never shown."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="set | list | delete | rotate-keys")
        put = actions.add_parser("set", help="set or replace a secret; its value is the standard input or a file")
        put.add_argument(
            "--from-file",
            type=Path,
            metavar="FILE",
            help="a file whose content is the value, without its last line break (default: the standard input)",
        )
        delete = actions.add_parser("delete", help="delete a secret")
        listing = actions.add_parser("list", help="list secrets without their values")
        listing.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")
        for action in (put, delete):
            action.add_argument("name", help="the name of the environment variable")
        for action in (put, delete, listing):
            owner = action.add_mutually_exclusive_group()
            owner.add_argument("--workspace", metavar="WORKSPACE", help="of one workspace: its ID or unique name")
            owner.add_argument("--set", metavar="SET", dest="secret_set", help="of a set that workspaces share")
        actions.add_parser("rotate-keys", help="re-encrypt everything with the first of SECRETS_KEYS; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "rotate-keys":
            self.rotate_keys()
            return
        actions = {"set": self.set_secret, "list": self.list_secrets, "delete": self.delete_secret}
        workspace_id = find_workspace_id(options["workspace"]) if options["workspace"] else None
        try:
            text = actions[options["action"]](options, workspace_id)
        except (secrets.InvalidSecret, UnknownSet) as error:
            raise CommandError(printable(str(error)), returncode=_NOTHING_CHANGED) from error
        self.stdout.write(printable(text))

    def set_secret(self, options: Mapping[str, Any], workspace_id: UUID | None) -> str:
        name, file = options["name"], options["from_file"]
        value = read_text(file, limit=secrets.MAX_VALUE_BYTES) if file else read_value(name)
        value = value.removesuffix("\n").removesuffix("\r")
        secret_set = options["secret_set"]
        with transaction.atomic():
            if secret_set is not None:
                create_set(secret_set)
            secret_changes.set_secrets({name: value}, workspace_id=workspace_id, secret_set=secret_set, by="manage.py")
        return f"Set {describe(secrets_of(options, workspace_id).get(name=name))}."

    def list_secrets(self, options: Mapping[str, Any], workspace_id: UUID | None) -> str:
        rows = Secret.objects.select_related("workspace")
        if options["workspace"] or options["secret_set"] is not None:
            rows = secrets_of(options, workspace_id)
        if options["format"] == "json":
            return json.dumps([secret_json(row) for row in rows], indent=2)
        return "\n".join([*map(describe, rows), "1 secret." if len(rows) == 1 else f"{len(rows)} secrets."])

    def delete_secret(self, options: Mapping[str, Any], workspace_id: UUID | None) -> str:
        found = secrets_of(options, workspace_id).filter(name=options["name"].replace("\0", ""))
        if not (row := found.first()):
            raise CommandError(f"There is no secret {options['name']!r} here.", returncode=_NOTHING_CHANGED)
        secret_changes.delete_secrets(found, by="manage.py")
        return f"Deleted {row.name} ({row.origin})."

    def rotate_keys(self) -> None:
        """Re-encrypt everything, and exit with 1 if something can't be decrypted."""
        rows, done = count_rows(), Rotation()
        for done in rotate_keys():
            self.stdout.write(f"{done.seen} of {rows} rows: {done.summary}")
            self.stdout.flush()
        self.stdout.write(f"Done: {done.summary}")
        if done.unreadable:
            named = "\n".join(f"  {text}" for text in done.unreadable[:_MOST_NAMED])
            self.stderr.write(printable(f"Keep the old keys, or set these again:\n{named}"))
            sys.exit(1)


def secrets_of(options: Mapping[str, Any], workspace_id: UUID | None) -> QuerySet[Secret]:
    """Return the secrets of the workspace or the set, or the global ones. Raises UnknownSet."""
    name = options["secret_set"]
    secret_set = find_set(name) if name is not None else None
    # None means IS NULL, which the stubs don't know.
    return Secret.objects.filter(workspace_id=workspace_id, secret_set=secret_set)  # type: ignore[misc]


def describe(row: Secret) -> str:
    """Return what is known of a secret, in a line."""
    by = f" by {row.set_by}" if row.set_by else ""
    return f"{row.name} ({row.origin}), version {row.version}, {row.updated_at:%Y-%m-%d %H:%M}{by}"


def secret_json(row: Secret) -> dict[str, Any]:
    """Return what is known of a secret, for scripts."""
    return {
        "name": row.name,
        "secret_set": row.secret_set_id,
        "workspace_id": str(row.workspace_id) if row.workspace_id else None,
        "version": row.version,
        "set_at": row.updated_at.isoformat(),
        "set_by": row.set_by,
    }
