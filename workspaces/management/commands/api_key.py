"""`manage.py api_key`: create, list and revoke API keys."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from postgres.clock import database_now
from workspaces.access.tokens import InvalidKey, UnknownKey, mint_api_key, revoke_api_key
from workspaces.management.examples import CommandWithExamples
from workspaces.models import ApiKey, ApiScope

EPILOG = """examples:
  manage.py api_key create ci --scope operate
  KEY=$(manage.py api_key create backup --scope read --format json | jq -r .key)
  manage.py api_key list
  manage.py api_key revoke aB3_x9
"""


class Command(CommandWithExamples):
    help = "Create, list or revoke API keys. A key is sent as `Authorization: Bearer KEY`."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="create | list | revoke")
        create = actions.add_parser("create", help="create a key and print it once")
        create.add_argument("name", help="a name that says who uses the key")
        create.add_argument(
            "--scope",
            action="append",
            default=[],
            dest="scopes",
            metavar="SCOPE",
            help=f"what the key may do, repeatable: {', '.join(ApiScope.values)}",
        )
        revoke = actions.add_parser("revoke", help="make a key invalid")
        revoke.add_argument("prefix", help="the beginning of the key, as `list` shows it")
        for action in (create, revoke, actions.add_parser("list", help="list the keys without their values")):
            action.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        actions = {"create": self.create_key, "list": self.list_keys, "revoke": self.revoke_key}
        try:
            text, values = actions[options["action"]](options)
        except (InvalidKey, UnknownKey) as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(json.dumps(values, indent=2) if options["format"] == "json" else text)

    def create_key(self, options: dict[str, Any]) -> tuple[str, Any]:
        row, key = mint_api_key(name=options["name"], scopes=options["scopes"])
        text = f"Created 1 key, {row.name} ({', '.join(row.scopes)}). It is shown only once:\n{key}"
        return text, key_json(row) | {"key": key}

    def list_keys(self, options: dict[str, Any]) -> tuple[str, Any]:
        rows = ApiKey.objects.order_by("name", "pk")
        lines = []
        for row in rows:
            state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "valid"
            scopes = ", ".join(row.scopes)
            lines.append(f"{row.prefix}…  {row.name}  {scopes}  created {row.created_at:%Y-%m-%d}  {state}")
        lines.append("1 key." if len(rows) == 1 else f"{len(rows)} keys.")
        return "\n".join(lines), [key_json(row) for row in rows]

    def revoke_key(self, options: dict[str, Any]) -> tuple[str, Any]:
        row = revoke_api_key(options["prefix"], now=database_now())
        row.refresh_from_db()
        return f"Revoked 1 key, {row.name} ({row.prefix}…).", key_json(row)


def key_json(row: ApiKey) -> dict[str, Any]:
    """Return a key for scripts, without its value."""
    row.refresh_from_db(fields=["created_at"])
    return {
        "name": row.name,
        "prefix": row.prefix,
        "scopes": row.scopes,
        "created_at": row.created_at.isoformat(),
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }
