"""The admin's forms. They check the shape of what was typed; what it means is the services' to judge."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from workspaces.access import secrets as access_secrets
from workspaces.configuration import catalog, env_files
from workspaces.lifecycle.transitions import RestartPolicy
from workspaces.models import MAX_TIMEOUT_SECONDS, ApiKey, ApiScope, Secret, Workspace
from workspaces.services.launching.create import CreateRequest, InvalidWorkspace

no_control_characters = RegexValidator(r"[\x00-\x1f\x7f-\x9f]", "This holds a control character.", inverse_match=True)
MAX_LABELS = 50
_MAX_LABEL_CHARACTERS = 200
MAX_IDLE_MINUTES = 2**31 - 1


class SecretsWidget(UnfoldAdminTextareaWidget):
    """A text area whose content is never sent back to the browser."""

    def format_value(self, value: Any) -> str:
        return ""


class AssignmentsField(forms.CharField):
    """NAME=VALUE lines that are secrets."""

    widget = SecretsWidget

    def clean(self, value: Any) -> Any:
        try:
            return env_files.parse_assignments(super().clean(value))
        except env_files.BadAssignment as error:
            raise ValidationError(f"{error} {_TYPE_AGAIN}") from error


_TYPE_AGAIN = "Type the secrets again: they are not sent back."


class LabelsField(forms.CharField):
    """Labels as `key=value` lines."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return "\n".join(f"{name}={text}" for name, text in value.items())
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)

    def clean(self, value: Any) -> Any:
        labels = dict(_labels(super().clean(value)))
        if len(labels) > MAX_LABELS:
            raise ValidationError(f"A workspace can have {MAX_LABELS} labels, these are {len(labels)}.")
        return labels


def _labels(text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, separator, value = (part.strip() for part in line.partition("="))
        if not (name and separator):
            raise ValidationError(f"Line {number} is no key=value.")
        if len(line) > _MAX_LABEL_CHARACTERS:
            raise ValidationError(f"Line {number} is longer than {_MAX_LABEL_CHARACTERS} characters.")
        no_control_characters(name + value)
        yield name, value


def _timeout_field() -> forms.IntegerField:
    return forms.IntegerField(
        label="Boot limit (seconds)",
        required=False,
        min_value=1,
        max_value=MAX_TIMEOUT_SECONDS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How long a boot may take; empty: as its template or runtime says. Holds from the next launch on.",
    )


def _idle_field() -> forms.IntegerField:
    return forms.IntegerField(
        label="Hibernate after (minutes idle)",
        required=False,
        min_value=1,
        max_value=MAX_IDLE_MINUTES,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Without an active task, while its heartbeats arrive; empty: never.",
    )


def _policy_field(*, required: bool) -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Restart",
        required=required,
        choices=RestartPolicy.choices,
        initial=RestartPolicy.ON_FAILURE,
        widget=UnfoldAdminSelectWidget,
        help_text="What happens where its process ends though it was online; a clean stop is no failure.",
    )


class CreateForm(forms.Form):
    """What runs: a template or a pasted config.yaml. Everything else may stay empty."""

    template = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    config = forms.CharField(
        label="config.yaml",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"class": "slipway-code", "rows": 12, "spellcheck": "false"}),
        help_text="Pasted in place of a template.",
    )
    name = forms.CharField(
        required=False,
        max_length=100,
        validators=[no_control_characters],
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the name in its config.yaml.",
    )
    model = forms.CharField(
        required=False,
        max_length=200,
        validators=[no_control_characters],
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the one that its config.yaml picks.",
    )
    provision_timeout_seconds = _timeout_field()
    hibernation_idle_minutes = _idle_field()
    restart_policy = _policy_field(required=False)
    secrets = AssignmentsField(
        required=False,
        strip=False,
        max_length=env_files.MAX_TEXT_BYTES,
        widget=SecretsWidget(attrs={"class": "slipway-code", "rows": 4, "autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        templates = catalog.list_templates()
        choices = [(each.id, _offer(each)) for each in templates]
        self.fields["template"].choices = [("", "– none: paste a config.yaml below –"), *choices]  # type: ignore[attr-defined]
        needs = [f"{each.id} needs {', '.join(each.required_env)}" for each in templates if each.required_env]
        self.fields["secrets"].help_text = " ".join(["One NAME=VALUE a line, encrypted at rest.", *_sentences(needs)])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        template, config = cleaned.get("template"), (cleaned.get("config") or "").strip()
        if template and config:
            self.add_error("config", "Choose a template or paste a config.yaml, not both.")
        elif not template and not config and "config" in cleaned and "template" in cleaned:
            self.add_error("template", "Choose a template, or paste a config.yaml below.")
        return cleaned

    def add_invalid(self, error: InvalidWorkspace) -> None:
        """Show what the service refused at the fields it names."""
        for name, why in error.fields.items():
            self.add_error(name if name in self.fields else None, why)

    def remind_of_secrets(self) -> None:
        """Say that the secrets were not kept, where some were typed."""
        if self.data.get("secrets") and "secrets" not in self.errors:
            self.add_error("secrets", _TYPE_AGAIN)

    def request(self) -> CreateRequest:
        """Return what was asked for."""
        cleaned = self.cleaned_data
        return CreateRequest(
            template=cleaned["template"],
            config=cleaned["config"] if cleaned["config"].strip() else "",
            name=cleaned["name"],
            model=cleaned["model"],
            provision_timeout_seconds=cleaned["provision_timeout_seconds"],
            hibernation_idle_minutes=cleaned["hibernation_idle_minutes"],
            restart_policy=RestartPolicy(cleaned["restart_policy"] or RestartPolicy.ON_FAILURE),
            secrets=cleaned["secrets"],
        )


def _offer(template: catalog.Template) -> str:
    if template.problem:
        return f"{template.id} (its config.yaml can't be used)"
    return template.id if template.id == template.runtime else f"{template.id} ({template.runtime})"


def _sentences(needs: list[str]) -> list[str]:
    return [f"{'; '.join(needs)}."] if needs else []


class WorkspaceForm(forms.ModelForm):
    """What may be changed of a workspace without moving it."""

    name = forms.CharField(max_length=100, validators=[no_control_characters], widget=UnfoldAdminTextInputWidget)
    role = forms.CharField(
        max_length=200, required=False, validators=[no_control_characters], widget=UnfoldAdminTextInputWidget
    )
    labels = LabelsField(
        required=False,
        max_length=20_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One key=value a line.",
    )
    provision_timeout_seconds = _timeout_field()
    hibernation_idle_minutes = _idle_field()
    restart_policy = _policy_field(required=True)

    class Meta:
        model = Workspace
        fields = ["name", "role", "tier", "labels", "provision_timeout_seconds"]
        fields += ["hibernation_idle_minutes", "restart_policy"]


class SecretForm(forms.ModelForm):
    """A secret's place, name and new value; the present value is never shown."""

    value = forms.CharField(
        strip=False,
        max_length=access_secrets.MAX_VALUE_CHARACTERS,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text="Encrypted at rest, and never shown again. A running workspace gets it at its next restart.",
    )

    class Meta:
        model = Secret
        fields = ["workspace", "name"]
        help_texts = {"workspace": "A workspace's id; empty: for all workspaces."}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name = cleaned.get("name") or self.instance.name
        if name and cleaned.get("value") is not None:
            try:
                access_secrets.check_secret(name, cleaned["value"])
            except access_secrets.InvalidSecret as error:
                self.add_error("value" if self.instance.pk else None, str(error))
        return cleaned

    # A name that is there already is no mistake: its value is replaced.
    def validate_unique(self) -> None:
        return None

    def validate_constraints(self) -> None:
        return None


class ApiKeyForm(forms.ModelForm):
    """A new API key: what it is for, and what it may do."""

    name = forms.CharField(max_length=100, validators=[no_control_characters], widget=UnfoldAdminTextInputWidget)
    scopes = forms.MultipleChoiceField(
        choices=ApiScope.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Admin includes operate, operate includes read; watch may only report that a boot failed.",
    )

    class Meta:
        model = ApiKey
        fields = ["name", "scopes"]
