"""Stores what an operator sets of a channel, for the admin, the API and `manage.py channel`."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from django import forms
from django.db import IntegrityError, transaction

from events.channel_settings.forms import COMMON, FILTERS, ChannelForm, WordListField, form_for
from events.channels.base import NOTHING, Kind
from events.channels.registry import UnknownKind, kind_of
from events.delivery.channel_operations import all_options, encrypt_options
from events.models import Channel

SETTINGS = (*COMMON, *FILTERS)


class InvalidChannel(ValueError):
    """Some values can't be used; `fields` says why for each, an option as `options.NAME`. No text holds a secret."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {why}" for name, why in fields.items()))
        self.fields = dict(fields)


@dataclass(frozen=True, kw_only=True)
class SavedChannel:
    """A stored channel, and the signing secret that was made for it now; "" if none was."""

    channel: Channel
    signing_secret: str


def create(kind_name: str, values: Mapping[str, Any]) -> SavedChannel:
    """Create a channel from JSON values: those of SETTINGS, and `options` of its kind. Raises InvalidChannel."""
    try:
        kind = kind_of(kind_name)
    except UnknownKind as error:
        raise InvalidChannel({"kind": str(error)}) from None
    return save(kind, values, Channel())


@transaction.atomic
def change(channel_id: int, values: Mapping[str, Any]) -> SavedChannel:
    """Change what the values name. Raises InvalidChannel, Channel.DoesNotExist, and SendFailed as `filled_form`."""
    # Locked, because the encrypted options are read, changed and stored as one.
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    return save(kind_of(channel.kind), values, channel)


def save(kind: Kind, values: Mapping[str, Any], channel: Channel) -> SavedChannel:
    """Store a new or changed channel. Raises InvalidChannel."""
    form = filled_form(kind, values, channel)
    if not form.is_valid():
        raise InvalidChannel({qualified(name, kind): " ".join(map(str, why)) for name, why in form.errors.items()})
    return SavedChannel(channel=form.instance, signing_secret=store(form))


@transaction.atomic
def store(form: ChannelForm) -> str:
    """Store the channel of a valid form. Return the signing secret that was made for it, or "".

    Raises InvalidChannel if another request has taken its name or removed it since the form was judged.
    """
    channel, encrypted = form.instance, form.encrypted_options()
    channel.kind = form.kind.name
    channel.options = form.plain_options()
    channel.sealed_options = encrypt_options(encrypted)
    if channel.pk and not Channel.objects.select_for_update(no_key=True).filter(pk=channel.pk).exists():
        raise InvalidChannel({"name": "This channel was removed."})
    try:
        # Keep what the delivery has written since the channel was read.
        channel.save(update_fields=[*SETTINGS, "options", "sealed_options"] if channel.pk else None)
    except IntegrityError:
        raise InvalidChannel({"name": "There is a channel with this name."}) from None
    signing = encrypted.get("signing")
    return str(signing[0]["secret"]) if signing and signing != form.stored.get("signing") else ""


def filled_form(kind: Kind, values: Mapping[str, Any], channel: Channel) -> ChannelForm:
    """Return the form with the values in it, and what the channel or the kind has for all others.

    Raises InvalidChannel for unknown names and values of the wrong type, and SendFailed if an encrypted option that is
    not given can't be kept, because it can't be decrypted.
    """
    form_class = form_for(kind)
    blank = form_class(instance=channel) if channel.pk else form_class()
    data = {name: field.prepare_value(blank.get_initial_for_field(field, name)) for name, field in blank.fields.items()}
    options = values.get("options", {})
    if not isinstance(options, Mapping):
        raise InvalidChannel({"options": "This must be an object."})
    if channel.pk and set(kind.form.encrypted) - set(options):
        all_options(channel)
    given = {name: value for name, value in values.items() if name != "options"}
    problems = unknown_names(given, [*SETTINGS, "options"])
    problems |= unknown_names(options, kind.form.option_names(), prefix="options.")
    for name, value in {**given, **options}.items():
        if name in blank.fields:
            try:
                data[name] = entered(value, blank.fields[name])
            except ValueError as error:
                problems[qualified(name, kind)] = str(error)
    if problems:
        raise InvalidChannel(problems)
    present = {name: value for name, value in data.items() if value is not None}
    return form_class(present, instance=channel)


def entered(value: Any, field: forms.Field) -> Any:
    """Return a JSON value as it would be entered into a field. Raises ValueError for one of the wrong type."""
    is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
    if isinstance(field, forms.BooleanField):
        wanted, is_fitting = "true or false", isinstance(value, bool)
    elif isinstance(field, forms.IntegerField):
        wanted, is_fitting = "a whole number", isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(field, forms.MultipleChoiceField | WordListField):
        wanted, is_fitting = "a list of strings", is_list
    elif isinstance(field, forms.UUIDField):
        wanted, is_fitting = "a string or null", value is None or isinstance(value, str)
    elif isinstance(value, list | dict):
        # Each item is a line of its own.
        pairs = value.items() if isinstance(value, dict) else (("", each) for each in value)
        texts = [(name, text) for name, text in pairs if isinstance(text, str)]
        lines = [f"{name}: {text}" if isinstance(value, dict) else text for name, text in texts]
        is_fitting = len(lines) == len(value) and all(len(line.splitlines()) == 1 for line in lines)
        wanted, value = "a string, or one line for each item", "\n".join(lines) or NOTHING
    else:
        wanted, is_fitting = "a string", isinstance(value, str)
    if not is_fitting:
        raise ValueError(f"This must be {wanted}.")
    return "" if value is None else value


def unknown_names(given: Mapping[str, Any], known: list[str], *, prefix: str = "") -> dict[str, str]:
    """Return a sentence for each name that isn't known, with the nearest one."""
    problems = {}
    for name in [name for name in given if name not in known][:20]:
        near = get_close_matches(name, known, n=1)
        problems[f"{prefix}{name[:200]}"] = "There is no such field." + (f" Did you mean {near[0]}?" if near else "")
    return problems


def qualified(name: str, kind: Kind) -> str:
    """Return the name of a field as the caller sent it."""
    return f"options.{name}" if name in kind.form.option_names() else name
