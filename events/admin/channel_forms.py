"""The admin's form of a channel: what all have in common, and what its kind asks for."""

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
from events.channels.base import Kind, SendFailed
from events.delivery.channel_operations import all_options
from events.models import Channel
from events.names import EventType

COMMON = ["name", "concurrency", "timeout_seconds"]
FILTERS = ["event_types", "failure_codes", "runtimes", "workspace_id", "with_descendants"]
_WORD = re.compile(r"[A-Za-z0-9._-]{1,63}")
_MAX_WORDS = 50


class WordsField(forms.CharField):
    """Words separated by commas or spaces, as a list."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        words = list(dict.fromkeys(super().clean(value).replace(",", " ").split()))
        for word in words:
            if not _WORD.fullmatch(word):
                raise ValidationError(f"{word[:80]!r} can't be one: use letters, digits, dots, dashes, underscores.")
        if len(words) > _MAX_WORDS:
            raise ValidationError(f"These are {len(words)}; at most {_MAX_WORDS} can be listed.")
        return words


class ChannelForm(forms.ModelForm):
    """A channel's name, what it wants, and how it is sent to."""

    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)
    event_types = forms.MultipleChoiceField(
        label="Events",
        choices=[(name, name) for name in EventType.values],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None chosen: all. Every filter that is set must match.",
    )
    failure_codes = forms.MultipleChoiceField(
        choices=[(code, code) for code in FAILURE_CODES],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Only failures with these codes. None chosen: all events.",
    )
    runtimes = WordsField(required=False, max_length=2000, help_text="Such as hermes, langgraph. Empty: all.")
    workspace_id = forms.UUIDField(
        label="Workspace", required=False, widget=UnfoldAdminTextInputWidget, help_text="An id. Empty: all."
    )
    with_descendants = forms.BooleanField(
        label="And all below it", required=False, initial=True, widget=UnfoldBooleanSwitchWidget
    )
    concurrency = forms.IntegerField(
        label="Sends at a time",
        initial=4,
        min_value=1,
        max_value=32,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Of different workspaces; one workspace's events go one after the other.",
    )
    timeout_seconds = forms.IntegerField(
        label="Time limit of a send (seconds)",
        initial=10,
        min_value=1,
        max_value=30,
        widget=UnfoldAdminIntegerFieldWidget,
    )

    class Meta:
        model = Channel
        fields = [*COMMON, *FILTERS]

    kind: Kind
    present: Mapping[str, Any]

    def __init__(self, *args: Any, **keywords: Any) -> None:
        instance: Channel | None = keywords.get("instance")
        stored = instance if instance is not None and instance.pk else None
        keywords["initial"] = {**(stored.options if stored else {}), **(keywords.get("initial") or {})}
        super().__init__(*args, **keywords)
        self.present = _readable(stored) if stored else {}
        for name in self.kind.form.sealed if stored else ():
            self.fields[name].required = False
            self.fields[name].help_text = f"{self.fields[name].help_text} Empty: stays as it is."

    def clean_timeout_seconds(self) -> int:
        seconds: int = self.cleaned_data["timeout_seconds"]
        if 2 * seconds > settings.DELIVERY_LEASE_SECONDS:
            raise ValidationError(
                f"At most {settings.DELIVERY_LEASE_SECONDS // 2}: half of DELIVERY_LEASE_SECONDS, "
                "after which a delivery counts as lost."
            )
        return seconds

    def plain_options(self) -> dict[str, Any]:
        """Return the options that may be shown."""
        names = self.kind.form.declared_names()
        return {name: self.cleaned_data[name] for name in names if name not in self.kind.form.sealed}

    def sealed_options(self) -> dict[str, Any]:
        """Return the options that are encrypted: what was entered, over what is there."""
        kept = {name: value for name, value in self.present.items() if name not in self.kind.form.declared_names()}
        options = kept or self.kind.initial_options()
        for name in self.kind.form.sealed:
            is_entered = bool(str(self.data.get(name, "")).strip()) or name not in self.present
            options[name] = self.cleaned_data[name] if is_entered else self.present[name]
        return options


def form_for(kind: Kind) -> type[ChannelForm]:
    """Return the form of a channel of this kind: its own fields and the common ones."""
    return type(f"{kind.name.title()}ChannelForm", (kind.form, ChannelForm), {"kind": kind, "Meta": ChannelForm.Meta})


def _readable(channel: Channel) -> dict[str, Any]:
    try:
        return all_options(channel)
    except SendFailed:
        # Its key is lost: what is entered now begins anew.
        return {}
