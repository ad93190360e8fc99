"""`manage.py api_key`: create, list, change and revoke API keys."""

import argparse
import json
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from postgres.clock import database_now, in_utc
from workspaces.access.api_keys import (
    InvalidKey,
    UnknownKey,
    change_api_key,
    find_by_prefix,
    mint_api_key,
    revoke_api_key,
    state_of,
)
from workspaces.management.examples import CommandWithExamples
from workspaces.models import ApiKey, ApiScope

EPILOG = """examples:
  manage.py api_key create ci --scope operate
  manage.py api_key create deploy --scope operate --expires 90d --network 10.20.0.0/16 --network 192.0.2.7
  KEY=$(manage.py api_key create backup --scope read --format json | jq -r .key)
  manage.py api_key list
  manage.py api_key change aB3_x9 --expires 30d --anywhere
  manage.py api_key revoke aB3_x9
"""


class Command(CommandWithExamples):
    help = "Create, list, change or revoke API keys. A key is sent as `Authorization: Bearer KEY`."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="create | list | change | revoke")
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
        change = actions.add_parser("change", help="change a key's name, expiry or networks; its scopes never change")
        revoke = actions.add_parser("revoke", help="make a key invalid")
        for action in (change, revoke):
            action.add_argument("prefix", help="the beginning of the key, as `list` shows it")
        change.add_argument("--name", help="its new name")
        for action in (create, change):
            self.add_limits(action, is_change=action is change)
        for action in (create, change, revoke, actions.add_parser("list", help="list the keys without their values")):
            action.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")

    def add_limits(self, parser: CommandParser, *, is_change: bool) -> None:
        parser.add_argument(
            "--expires",
            type=expiry,
            default=argparse.SUPPRESS,
            metavar="WHEN",
            dest="expires_at",
            help="when the key ends: 90d for days from now, 2027-01-31 or 2027-01-31T12:00 (UTC), or never",
        )
        networks = parser.add_mutually_exclusive_group()
        networks.add_argument(
            "--network",
            action="append",
            default=[],
            dest="networks",
            metavar="CIDR",
            help="where the key may be used from, repeatable: 10.0.0.0/8, 192.0.2.7; a new key without it: anywhere",
        )
        if is_change:
            networks.add_argument("--anywhere", action="store_true", help="let the key be used from anywhere")

    def handle(self, *args: Any, **options: Any) -> None:
        actions = {
            "create": self.create_key,
            "list": self.list_keys,
            "change": self.change_key,
            "revoke": self.revoke_key,
        }
        try:
            text, values = actions[options["action"]](options)
        except (InvalidKey, UnknownKey) as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(json.dumps(values, indent=2) if options["format"] == "json" else text)

    def create_key(self, options: dict[str, Any]) -> tuple[str, Any]:
        fields = {name: options[name] for name in ("name", "scopes", "networks")}
        row, key = mint_api_key(**fields, expires_at=options.get("expires_at"))
        row = ApiKey.objects.with_clock().get(pk=row.pk)
        text = f"Created 1 key, {row.name} ({', '.join(row.scopes)}). It is shown only once:\n{key}"
        return text, key_json(row) | {"key": key}

    def list_keys(self, options: dict[str, Any]) -> tuple[str, Any]:
        rows = ApiKey.objects.with_clock().order_by("name", "pk")
        lines = ["  ".join(facts_of(row)) for row in rows]
        lines.append("1 key." if len(rows) == 1 else f"{len(rows)} keys.")
        return "\n".join(lines), [key_json(row) for row in rows]

    def change_key(self, options: dict[str, Any]) -> tuple[str, Any]:
        changes = {name: options[name] for name in ("name", "networks") if options[name] not in (None, [])}
        # None means that it never expires.
        changes |= {"expires_at": options["expires_at"]} if "expires_at" in options else {}
        changes |= {"networks": []} if options["anywhere"] else {}
        if not changes:
            raise CommandError("Say what to change: --name, --expires, --network or --anywhere.", returncode=2)
        row = change_api_key(find_by_prefix(options["prefix"]).pk, changes)
        return f"Changed 1 key, {row.name} ({row.prefix}…).", key_json(row)

    def revoke_key(self, options: dict[str, Any]) -> tuple[str, Any]:
        row = revoke_api_key(options["prefix"], now=database_now())
        row = ApiKey.objects.with_clock().get(pk=row.pk)
        return f"Revoked 1 key, {row.name} ({row.prefix}…).", key_json(row)


def expiry(text: str) -> datetime | None:
    """Return the time that an argument means, None for never. Raises ArgumentTypeError."""
    if text == "never":
        return None
    try:
        if text.endswith("d"):
            return database_now() + timedelta(days=int(text.removesuffix("d")))
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("write 90d, 2027-01-31 or 2027-01-31T12:00") from None


def facts_of(row: ApiKey) -> list[str]:
    """Return what a line of the list says of a key."""
    facts = [f"{row.prefix}…", row.name, ", ".join(row.scopes), f"created {row.created_at:%Y-%m-%d}"]
    if row.networks:
        facts.append(f"from {', '.join(row.networks)}")
    facts.append(f"used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used")
    if row.revoked_at:
        return [*facts, f"revoked {row.revoked_at:%Y-%m-%d}"]
    if row.is_expired:
        return [*facts, f"expired {row.expires_at:%Y-%m-%d}"]
    return [*facts, f"valid until {row.expires_at:%Y-%m-%d %H:%M}" if row.expires_at else "valid"]


def key_json(row: ApiKey) -> dict[str, Any]:
    """Return a key for scripts, without its value."""
    moments = ("created_at", "expires_at", "last_used_at", "revoked_at")
    return {
        **{name: getattr(row, name) for name in ("id", "name", "prefix", "scopes", "networks")},
        "state": state_of(row).value,
        **{name: moment.isoformat() if (moment := getattr(row, name)) else None for name in moments},
    }
