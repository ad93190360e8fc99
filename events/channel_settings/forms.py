"""The form for a channel: the fields that all channels have, and the options of its kind."""

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from events.catalogue import FAILURE_CODES
from events.channel_settings.name_field import NameField
from events.channels.base import Kind, SendFailed
from events.channels.network.addresses import origin_of
from events.delivery.channel_operations import all_options
from events.models import Channel
from events.names import EventType

COMMON = ["name", "concurrency", "timeout_seconds"]
FILTERS = ["event_types", "failure_codes", "runtimes", "workspace_id", "with_descendants"]
_WORD = re.compile(r"[A-Za-z0-9._-]{1,63}")
_MAX_WORDS = 50


class WordListField(forms.CharField):
    """A list of words, or a text with commas or spaces between them."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        entered = value if isinstance(value, list) else super().clean(value).replace(",", " ").split()
        words = list(dict.fromkeys(entered))
        for word in words:
            if not _WORD.fullmatch(word):
                raise ValidationError(
                    f"{word[:80]!r} is not allowed. Use only letters, digits, dots, hyphens and underscores."
                )
        if len(words) > _MAX_WORDS:
            raise ValidationError(f"You entered {len(words)} words; at most {_MAX_WORDS} are allowed.")
        return words


class ChannelForm(forms.ModelForm):
    """A channel's name, filters and limits. `form_for` adds the options of its kind."""

    name = NameField(max_length=100)
    event_types = forms.MultipleChoiceField(
        label="Events",
        choices=[(name, name) for name in EventType.values],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Select none to send all events. An event has to match every filter that is set.",
    )
    failure_codes = forms.MultipleChoiceField(
        choices=[(code, code) for code in FAILURE_CODES],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Only failures with these codes. Select none to send all events.",
    )
    runtimes = WordListField(
        required=False, max_length=2000, help_text="For example hermes, langgraph. Leave empty for all."
    )
    workspace_id = forms.UUIDField(
        label="Workspace",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="A workspace ID. Leave empty for all.",
    )
    with_descendants = forms.BooleanField(
        label="Include its descendants", required=False, initial=True, widget=UnfoldBooleanSwitchWidget
    )
    concurrency = forms.IntegerField(
        label="Concurrent sends",
        initial=4,
        min_value=1,
        max_value=32,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="For different workspaces. Events of one workspace are sent one after the other.",
    )
    timeout_seconds = forms.IntegerField(
        label="Timeout of a send (seconds)",
        initial=10,
        min_value=1,
        max_value=30,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    class Meta:
        model = Channel
        fields = [*COMMON, *FILTERS]

    kind: Kind
    stored: Mapping[str, Any]

    def __init__(self, *args: Any, **keywords: Any) -> None:
        instance: Channel | None = keywords.get("instance")
        channel = instance if instance is not None and instance.pk else None
        keywords["initial"] = {**(channel.options if channel else {}), **(keywords.get("initial") or {})}
        super().__init__(*args, **keywords)
        self.stored = {}
        if channel is None:
            return
        is_lost, advice = False, "Leave empty to keep the stored value."
        try:
            self.stored = all_options(channel)
        except SendFailed:
            # What is left empty would be stored as empty, over what a key that is found again could decrypt.
            is_lost, advice = True, "The stored value can't be decrypted: enter it again."
        for name in self.kind.form.encrypted:
            self.fields[name].required = is_lost
            self.fields[name].help_text = f"{self.fields[name].help_text} {advice}"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.has_other_origin():
            others = [name for name in self.kind.form.encrypted if name != self.kind.form.address]
            for name in others:
                if self.stored.get(name) and not self.is_entered(name):
                    self.add_error(name, "Enter this again: what is stored was entered for another host.")
        return cleaned

    def has_other_origin(self) -> bool:
        """Return whether the entered address has another scheme, host or port than the stored one."""
        address = self.kind.form.address
        if not address or not self.stored or not self.is_entered(address):
            return False
        try:
            return origin_of(self.cleaned_data.get(address, "")) != origin_of(self.stored[address])
        except ValueError:
            return True

    def is_entered(self, name: str) -> bool:
        """Return whether the operator entered this encrypted option, instead of keeping the stored one."""
        return bool(str(self.data.get(name, "")).strip()) or name not in self.stored

    def clean_timeout_seconds(self) -> int:
        seconds: int = self.cleaned_data["timeout_seconds"]
        if 2 * seconds > settings.DELIVERY_LEASE_SECONDS:
            raise ValidationError(
                f"At most {settings.DELIVERY_LEASE_SECONDS // 2}, half of DELIVERY_LEASE_SECONDS: a send must not "
                "outlast the lease."
            )
        return seconds

    def plain_options(self) -> dict[str, Any]:
        """Return the options that may be shown."""
        names = self.kind.form.option_names()
        return {name: self.cleaned_data[name] for name in names if name not in self.kind.form.encrypted}

    def encrypted_options(self) -> dict[str, Any]:
        """Return the options to encrypt, in plain text: those entered, otherwise those stored for the same origin."""
        options = {name: value for name, value in self.stored.items() if name not in self.kind.form.option_names()}
        if not options or self.has_other_origin():
            options = self.kind.initial_options()
        for name in self.kind.form.encrypted:
            options[name] = self.cleaned_data[name] if self.is_entered(name) else self.stored[name]
        return options


def form_for(kind: Kind) -> type[ChannelForm]:
    """Return the form class for channels of this kind: its own options and the common fields."""
    return type(f"{kind.name.title()}ChannelForm", (kind.form, ChannelForm), {"kind": kind, "Meta": ChannelForm.Meta})
