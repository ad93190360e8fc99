"""`manage.py api_key`: make, list and revoke the credentials of scripts."""

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from postgres.clock import database_now
from workspaces.access.tokens import InvalidKey, UnknownKey, mint_api_key, revoke_api_key
from workspaces.models import ApiKey, ApiScope

EPILOG = """examples:
  manage.py api_key create ci --scope operate
  KEY=$(manage.py api_key create backup --scope read --format json | jq -r .key)
  manage.py api_key list
  manage.py api_key revoke aB3_x9
"""


class Command(BaseCommand):
    help = "Make, list or revoke API keys. A key is sent as `Authorization: Bearer KEY`."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="create | list | revoke")
        create = verbs.add_parser("create", help="make a key and print it, this once")
        create.add_argument("name", help="whose it is, for people")
        create.add_argument(
            "--scope",
            action="append",
            default=[],
            dest="scopes",
            metavar="SCOPE",
            help=f"what it may do, repeatable: {', '.join(ApiScope.values)}",
        )
        revoke = verbs.add_parser("revoke", help="make a key worthless")
        revoke.add_argument("prefix", help="the key's beginning, as `list` shows it")
        for verb in (create, revoke, verbs.add_parser("list", help="show the keys, without the keys themselves")):
            verb.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        as_json = options["format"] == "json"
        verbs = {"create": self._create, "list": self._list, "revoke": self._revoke}
        try:
            text, facts = verbs[options["verb"]](options)
        except (InvalidKey, UnknownKey) as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(json.dumps(facts, indent=2) if as_json else text)

    def _create(self, options: dict[str, Any]) -> tuple[str, Any]:
        row, key = mint_api_key(name=options["name"], scopes=options["scopes"])
        sentence = f"Made 1 key, {row.name} ({', '.join(row.scopes)}). It is shown only now:"
        return f"{sentence}\n{key}", _facts(row) | {"key": key}

    def _list(self, options: dict[str, Any]) -> tuple[str, Any]:
        rows = list(ApiKey.objects.order_by("name", "pk"))
        noun = "key" if len(rows) == 1 else "keys"
        return "\n".join([*map(_line, rows), f"{len(rows)} {noun}."]), [_facts(row) for row in rows]

    def _revoke(self, options: dict[str, Any]) -> tuple[str, Any]:
        row = revoke_api_key(options["prefix"], now=database_now())
        row.refresh_from_db()
        return f"Revoked 1 key, {row.name} ({row.prefix}…).", _facts(row)


def _line(row: ApiKey) -> str:
    state = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "valid"
    return f"{row.prefix}…  {row.name}  {', '.join(row.scopes)}  made {row.created_at:%Y-%m-%d}  {state}"


def _facts(row: ApiKey) -> dict[str, Any]:
    row.refresh_from_db(fields=["created_at"])
    return {
        "name": row.name,
        "prefix": row.prefix,
        "scopes": row.scopes,
        "created_at": row.created_at.isoformat(),
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }
