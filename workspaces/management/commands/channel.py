"""`manage.py channel`: list, add, change, test, pause, resume, enable, redrive, rotate and remove channels."""

import json
from argparse import ArgumentTypeError, BooleanOptionalAction
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.core.management.base import CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q

from agent.texts import printable
from events.channel_settings import saving
from events.channels.base import SendFailed
from events.channels.registry import KINDS, UnknownKind
from events.delivery import channel_operations
from events.delivery.channel_health import state_of, with_delivery_counts
from events.models import Channel, Delivery
from postgres.clock import database_now, in_utc
from workspaces.management.arguments import read_secrets, warn_of_visible_secrets
from workspaces.management.examples import CommandWithExamples

EPILOG = """Encrypted options, such as a receiver's URL, are asked for, or read from a file:

  manage.py channel add webhook ops --secret url --event WORKSPACE_PROVISION_FAILED
  echo "$URL" | manage.py channel add chat team --secret url
  manage.py channel add webhook ops --secret-file url=/run/secrets/url --secret-file headers=/run/secrets/headers
  manage.py channel add log audit --option level=INFO
  manage.py channel change ops --event WORKSPACE_OFFLINE --without runtime --concurrency 2
  manage.py channel test ops
  manage.py channel redrive ops --since 2026-01-31T14:00
  manage.py channel list --format json
"""
# What each option of `add` and `change` sets, and the words of its help.
_FILTERS = {
    "event": ("event_types", "an event to send, for example WORKSPACE_PROVISION_FAILED; default: all"),
    "failure-code": ("failure_codes", "only failures with this code"),
    "runtime": ("runtimes", "only workspaces with this runtime"),
}
# What `change --without` empties.
_CLEARED = {**{name: target for name, (target, _) in _FILTERS.items()}, "workspace": "workspace_id"}
_OF_ONE = {
    "test": "send a test message now and show the answer; exits with 1 if it was not accepted",
    "pause": "stop sending; events are still queued",
    "resume": "send what has been queued, in order",
    "enable": "queue events again for a channel that was disabled",
    "redrive": "send dead letters again",
    "rotate": "give a webhook a new signing secret and print it once; for a day the old one signs as well",
    "remove": "remove a channel with its deliveries, also those that are not sent yet",
}

_REFUSALS = (
    saving.InvalidChannel,
    channel_operations.NothingToRotate,
    SendFailed,
    UnknownKind,
    # Another request has just removed it.
    Channel.DoesNotExist,
)


class Command(CommandWithExamples):
    help = "List, add, change, test, pause, resume, enable, redrive, rotate or remove channels."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list | add | change | test | …")
        listing = actions.add_parser("list", help="list the channels with their health")
        listing.add_argument("--format", choices=["text", "json"], default="text", help="json is for scripts")
        add = actions.add_parser("add", help="add a channel; prints a webhook's secret once")
        add.add_argument("kind", help=f"one of {', '.join(KINDS)}")
        add.add_argument("name", help="a name that says who is told")
        change = actions.add_parser("change", help="change a channel; what is not named stays")
        change.add_argument("channel", help="its name or ID")
        change.add_argument("--name", help="its new name")
        for action in (add, change):
            self.add_settings(action)
        change.add_argument(
            "--without",
            action="append",
            default=[],
            choices=_CLEARED,
            help="drop this filter, so that the channel gets all that it left out; repeatable",
        )
        for name, text in _OF_ONE.items():
            action = actions.add_parser(name, help=text)
            action.add_argument("channel", help="its name or ID")
            if name == "redrive":
                action.add_argument("--since", type=moment, help="only events since this time; UTC if it has no zone")

    def add_settings(self, parser: CommandParser) -> None:
        repeatable: dict[str, Any] = {"action": "append", "default": []}
        for name, (target, text) in _FILTERS.items():
            parser.add_argument(f"--{name}", dest=target, help=f"{text}; repeatable", **repeatable)
        parser.add_argument("--workspace", dest="workspace_id", help="only this workspace and its descendants: an ID")
        parser.add_argument(
            "--descendants",
            action=BooleanOptionalAction,
            dest="with_descendants",
            help="with --workspace: its descendants, too, or not",
        )
        parser.add_argument("--concurrency", type=int, metavar="N", help="how many may be sent at once: 1 to 32")
        parser.add_argument(
            "--timeout", type=int, metavar="SECONDS", dest="timeout_seconds", help="how long each may take: 1 to 30"
        )
        parser.add_argument("--option", dest="plain", metavar="NAME=VALUE", help="an option of the kind", **repeatable)
        parser.add_argument(
            "--secret", metavar="NAME", help="ask for this option without showing it; repeatable", **repeatable
        )
        parser.add_argument(
            "--secret-file", metavar="NAME=FILE", help="an option whose value is in a file; repeatable", **repeatable
        )

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        try:
            if action == "list":
                self.list_channels(options["format"])
            elif action == "add":
                self.add(options)
            elif action == "change":
                self.change(find_channel(options["channel"]), options)
            else:
                self.act(action, find_channel(options["channel"]), options)
        except _REFUSALS as error:
            raise CommandError(printable(str(error)), returncode=2) from error

    def list_channels(self, form: str) -> None:
        rows = [row_of(row) for row in with_delivery_counts(Channel.objects.order_by("name", "pk"))]
        if form == "json":
            self.stdout.write(json.dumps(rows, indent=2, cls=DjangoJSONEncoder))
            return
        for row in rows:
            counts = f"{row['backlog']} waiting, {row['dead_letters']} dead letters"
            error = f"  last error: {row['last_error']}" if row["state"] == "failing" else ""
            self.stdout.write(printable(f"{row['id']}  {row['name']}  {row['kind']}  {row['state']}  {counts}{error}"))
        self.stdout.write("1 channel." if len(rows) == 1 else f"{len(rows)} channels.")

    def add(self, options: dict[str, Any]) -> None:
        self.show("Added", saving.create(options["kind"], self.read_settings(options, kind=options["kind"])))

    def change(self, channel: Channel, options: dict[str, Any]) -> None:
        values = self.read_settings(options, kind=channel.kind)
        if twice := next((name for name in options["without"] if _CLEARED[name] in values), None):
            raise CommandError(f"Give --{twice} or --without {twice}, not both.", returncode=2)
        values |= {_CLEARED[name]: None if name == "workspace" else [] for name in options["without"]}
        if not values:
            raise CommandError("Say what to change; --help lists the options.", returncode=2)
        self.show("Changed", saving.change(channel.pk, values))

    def read_settings(self, options: dict[str, Any], *, kind: str) -> dict[str, Any]:
        """Return what the arguments set, as `saving` takes it. Raises CommandError."""
        if warning := warn_of_visible_secrets(options["secret"]):
            self.stderr.write(warning)
        plain = dict(split_option(text, kind=kind) for text in options["plain"])
        secrets = read_secrets(options["secret"], options["secret_file"])
        given = {name: options[name] for name in saving.SETTINGS if options[name] not in (None, [])}
        return given | ({"options": plain | secrets} if plain or secrets else {})

    def show(self, done: str, saved: saving.SavedChannel) -> None:
        channel = saved.channel
        self.stdout.write(f"{done} 1 channel, {channel.name} ({channel.kind}, ID {channel.pk}).")
        if saved.signing_secret:
            self.stdout.write(
                f"Give its signing secret to the receiver. It is shown only once:\n{saved.signing_secret}"
            )

    def act(self, action: str, channel: Channel, options: dict[str, Any]) -> None:
        if action == "test":
            self.test(channel)
            return
        if action == "rotate":
            secret = channel_operations.rotate_secret(channel, now=database_now())
            self.stdout.write(f"Rotated the signing secret of {channel.name}. It is shown only once:\n{secret}")
            return
        one, dead = Channel.objects.filter(pk=channel.pk), Delivery.objects.filter(channel=channel)
        acts: dict[str, Callable[[], tuple[int, str]]] = {
            "pause": lambda: (channel_operations.pause(one, now=database_now()), "channels were paused"),
            "resume": lambda: (channel_operations.resume(one), "channels were resumed"),
            "enable": lambda: (channel_operations.enable(one), "channels were enabled"),
            "redrive": lambda: (
                channel_operations.redrive(dead, since=options["since"], now=database_now()),
                "dead letters are sent again",
            ),
            "remove": lambda: (one.delete()[1].get(Channel._meta.label, 0), "channels were removed"),
        }
        number, done = acts[action]()
        self.stdout.write(f"{channel.name}: {number} {done}.")

    def test(self, channel: Channel) -> None:
        answer = channel_operations.send_test(channel, now=database_now())
        text = printable(f"{answer.answer} ({answer.latency_ms} ms) {answer.response}".strip())
        if not answer.is_accepted:
            raise CommandError(f"{channel.name} did not accept a test message: {text}")
        self.stdout.write(f"{channel.name} accepted a test message: {text}")


def find_channel(text: str) -> Channel:
    """Return the channel with this name or ID; a name wins. Raises CommandError."""
    wanted = Q(name=text.replace("\0", ""))
    if text.isascii() and text.isdecimal() and len(text) < 19:
        wanted |= Q(pk=int(text))
    found = sorted(Channel.objects.filter(wanted), key=lambda channel: channel.name != text)
    if not found:
        raise CommandError(
            f"There is no channel {printable(text)!r}. `manage.py channel list` lists them.", returncode=2
        )
    return found[0]


def row_of(channel: Channel) -> dict[str, Any]:
    """Return a channel for scripts, with nothing that is encrypted."""
    shown = ("id", "name", "kind", "options", "event_types", "failure_codes", "runtimes", "workspace_id", "paused_at")
    health = ("last_success_at", "last_error_at", "last_error", "backlog", "dead_letters")
    state = state_of(channel, now=database_now()).lower()
    return {**{name: getattr(channel, name) for name in (*shown, *health)}, "state": state}


def split_option(text: str, *, kind: str) -> tuple[str, Any]:
    """Return the name and the value of NAME=VALUE, as the kind's form takes it. Raises CommandError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--option {printable(name)}: give NAME=VALUE, such as level=INFO.", returncode=2)
    if kind in KINDS and name in KINDS[kind].form.encrypted:
        why = f"the list of processes would show it. Use --secret {name}, which asks for it, or --secret-file."
        raise CommandError(f"--option {name}: {why}", returncode=2)
    field = KINDS[kind].form.base_fields.get(name) if kind in KINDS else None
    if not isinstance(field, forms.IntegerField | forms.BooleanField):
        return name, value
    try:
        return name, json.loads(value)
    except ValueError:
        # The form says what it wants instead.
        return name, value


def moment(text: str) -> datetime:
    """Return a time in ISO 8601, in UTC if it names no zone. Raises ArgumentTypeError."""
    try:
        return in_utc(datetime.fromisoformat(text))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time. Give one like 2026-01-31T14:00.") from None
