"""The admin's forms. They check the shape of the input; services check the rest."""

from dataclasses import replace
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from events.channel_settings.name_field import NameField
from workspaces.access import api_keys, secret_sets
from workspaces.access import secrets as access_secrets
from workspaces.configuration import catalog, env_files, listed_templates
from workspaces.configuration.preflight import Report
from workspaces.configuration.reports import report_on_request
from workspaces.configuration.secret_files import read_env_secrets
from workspaces.lifecycle.transitions import FailureCode, RestartPolicy, WorkspaceStatus
from workspaces.models import MAX_TIMEOUT_SECONDS, ApiKey, ApiScope, Secret, SecretSet, Workspace
from workspaces.services.core.fields import InvalidWorkspace, clean_labels
from workspaces.services.launching.create import CreateRequest

MAX_IDLE_MINUTES = 2**31 - 1


class SecretsWidget(UnfoldAdminTextareaWidget):
    """A text area that never sends its content back to the browser."""

    def format_value(self, value: Any) -> str:
        return ""


class AssignmentsField(forms.CharField):
    """Secrets as the text of an env file."""

    widget = SecretsWidget

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            read_env_secrets(text)
        except env_files.BadAssignment as error:
            raise ValidationError(f"{error} {_ENTER_AGAIN}") from error
        return text


_MAX_PROBLEM_CHARACTERS = 200
_SECRETS_HELP = (
    "One NAME=VALUE per line, as in an env file: quotes for a value of several lines or with “ #” in it, no ${…}. "
    "Encrypted at rest."
)
_ENTER_AGAIN = "Enter the secrets again. They are never sent back to the browser."


class SecretSetsField(forms.CharField):
    """Names of sets of secrets, one on each line."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)

    def clean(self, value: Any) -> Any:
        names = super().clean(value).split()
        if problem := secret_sets.problem_with_sets(names):
            raise ValidationError(problem)
        return names


def _sets_field() -> forms.CharField:
    return SecretSetsField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="One name per line. Of equal secrets the one of the last set wins, and its own over all.",
    )


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
        labels = {}
        for number, line in enumerate(super().clean(value).splitlines(), start=1):
            if not line.strip():
                continue
            name, separator, text = (part.strip() for part in line.partition("="))
            if not (name and separator):
                raise ValidationError(f"Line {number} is not key=value.")
            labels[name] = text
        try:
            return clean_labels(labels)
        except ValueError as error:
            raise ValidationError(f"{error}.") from None


def _timeout_field() -> forms.IntegerField:
    return forms.IntegerField(
        label="Boot limit (seconds)",
        required=False,
        min_value=1,
        max_value=MAX_TIMEOUT_SECONDS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How long a boot may take, from the next launch on. Empty: the limit of the template or the runtime.",
    )


def _idle_field() -> forms.IntegerField:
    return forms.IntegerField(
        label="Hibernate after (minutes idle)",
        required=False,
        min_value=1,
        max_value=MAX_IDLE_MINUTES,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Minutes without an active task, while heartbeats arrive. Empty: never.",
    )


def _policy_field(*, required: bool) -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Restart",
        required=required,
        choices=RestartPolicy.choices,
        initial=RestartPolicy.ON_FAILURE,
        widget=UnfoldAdminSelectWidget,
        help_text="What to do if the process ends while the workspace is online. A clean stop is not a failure.",
    )


class CreateForm(forms.Form):
    """A template or a pasted config.yaml. Everything else is optional."""

    template = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    config = forms.CharField(
        label="config.yaml",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"class": "slipway-code", "rows": 12, "spellcheck": "false"}),
        help_text="Instead of a template.",
    )
    name = NameField(required=False, max_length=100, help_text="Empty: the name in config.yaml.")
    model = NameField(required=False, max_length=200, help_text="Empty: the model that config.yaml selects.")
    provision_timeout_seconds = _timeout_field()
    hibernation_idle_minutes = _idle_field()
    restart_policy = _policy_field(required=False)
    secret_sets = _sets_field()
    secrets = AssignmentsField(
        required=False,
        strip=False,
        max_length=env_files.MAX_TEXT_BYTES,
        widget=SecretsWidget(attrs={"class": "slipway-code", "rows": 4, "autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        templates = listed_templates.list_templates()
        choices = [(each.id, template_label(each)) for each in templates]
        self.fields["template"].choices = [("", "– none: paste a config.yaml below –"), *choices]  # type: ignore[attr-defined]
        needs = [f" {each.id} needs {', '.join(each.required_env)}." for each in templates if each.required_env]
        self.fields["secrets"].help_text = _SECRETS_HELP + "".join(needs)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        template, config = cleaned.get("template"), (cleaned.get("config") or "").strip()
        if template and config:
            self.add_error("config", "Choose a template or paste a config.yaml, not both.")
        elif not template and not config and "config" in cleaned and "template" in cleaned:
            self.add_error("template", "Choose a template, or paste a config.yaml below.")
        return cleaned

    def add_invalid(self, error: InvalidWorkspace) -> None:
        """Add the errors of the service to their fields; each problem of a configuration is one of its own."""
        for name, why in error.fields.items():
            of_config = [each for each in error.problems if each.code not in {"bad_secret", "bad_env_file"}]
            listed = [str(each) for each in of_config] if name in {"config", "template"} else []
            self.add_error(name if name in self.fields else None, listed or why)

    def add_secrets_reminder(self) -> None:
        """Say that the secrets must be entered again, if some were entered."""
        if self.data.get("secrets") and "secrets" not in self.errors:
            self.add_error("secrets", _ENTER_AGAIN)

    def report(self) -> Report | None:
        """Return what a preflight says of the input, with every problem; None if it doesn't say what to launch.

        What is wrong with other fields is in `errors`. The values of secrets are read from the input as it was sent,
        since all of their problems are wanted.
        """
        cleaned, config = self.cleaned_data, self.data.get("config", "")
        template = cleaned.get("template", "")
        if bool(template) == bool(config.strip()):
            return None
        report = report_on_request(
            template=template,
            config=config if config.strip() else None,
            secrets={},
            env_file=self.data.get("secrets", ""),
            sets=cleaned.get("secret_sets", []),
            model=cleaned.get("model", ""),
        )
        problems = [
            replace(each, hint=_hint_before_creation(each.hint)) if each.code == FailureCode.MISSING_ENV else each
            for each in report.problems
        ]
        return Report(problems=problems, warnings=report.warnings)

    def request(self, *, by: str) -> CreateRequest:
        """Return the input as the service takes it, from the operator of this name."""
        cleaned = self.cleaned_data
        return CreateRequest(
            template=cleaned["template"],
            config=cleaned["config"] if cleaned["config"].strip() else "",
            name=cleaned["name"],
            model=cleaned["model"],
            provision_timeout_seconds=cleaned["provision_timeout_seconds"],
            hibernation_idle_minutes=cleaned["hibernation_idle_minutes"],
            restart_policy=RestartPolicy(cleaned["restart_policy"] or RestartPolicy.ON_FAILURE),
            env_file=cleaned["secrets"],
            secret_sets=cleaned["secret_sets"],
            by=by,
        )


def _hint_before_creation(hint: str) -> str:
    """Return a preflight's hint about a missing variable without its advice to restart: there is no workspace yet."""
    _, _, of_entry = hint.partition("then restart.")
    return f"Add it under Secrets above, or to the global secrets.{of_entry}"


def template_label(template: catalog.Template) -> str:
    """Return the template's name in the list of choices."""
    if template.problem:
        return f"{template.id} (can't be used: {template.problem[:_MAX_PROBLEM_CHARACTERS]})"
    return template.id if template.id == template.runtime else f"{template.id} ({template.runtime})"


class WorkspaceForm(forms.ModelForm):
    """The settings of a workspace that an operator may change."""

    name = NameField(max_length=100)
    role = NameField(max_length=200, required=False)
    labels = LabelsField(
        required=False,
        max_length=20_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One key=value per line.",
    )
    provision_timeout_seconds = _timeout_field()
    hibernation_idle_minutes = _idle_field()
    restart_policy = _policy_field(required=True)
    secret_sets = _sets_field()

    class Meta:
        model = Workspace
        fields = ["name", "role", "tier", "labels", "provision_timeout_seconds"]
        fields += ["hibernation_idle_minutes", "restart_policy", "secret_sets"]


class SecretForm(forms.ModelForm):
    """A secret's workspace, name and new value. The current value is never shown."""

    value = forms.CharField(
        strip=False,
        max_length=access_secrets.MAX_VALUE_CHARACTERS,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text="Encrypted at rest and never shown again. A running workspace gets it at its next restart.",
    )

    class Meta:
        model = Secret
        fields = ["workspace", "secret_set", "name"]
        help_texts = {
            "workspace": "A workspace's ID. Empty: the set's, or all workspaces.",
            "secret_set": "The workspaces that have this set. Empty: the workspace, or all of them.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name = cleaned.get("name") or self.instance.name
        workspace = cleaned.get("workspace") or self.instance.workspace
        secret_set = cleaned.get("secret_set") or self.instance.secret_set
        if workspace and cleaned.get("secret_set"):
            self.add_error("secret_set", "Choose a workspace or a set, not both.")
        if workspace and workspace.status == WorkspaceStatus.REMOVED:
            self.add_error(None, access_secrets.REMOVED)
        if name and cleaned.get("value") is not None:
            try:
                access_secrets.check_secrets({name: cleaned["value"]})
                access_secrets.check_number(
                    [name],
                    workspace_id=workspace.pk if workspace else None,
                    secret_set=secret_set.pk if secret_set else None,
                )
            except access_secrets.InvalidSecret as error:
                self.add_error("value" if self.instance.pk else None, str(error))
        return cleaned

    # An existing name is not an error: its value is replaced. Django checks no constraint of an excluded field.
    def _get_validation_exclusions(self) -> set[str]:
        return {*super()._get_validation_exclusions(), "name"}  # type: ignore[misc]


class SecretSetForm(forms.ModelForm):
    """The name of a new set of secrets."""

    class Meta:
        model = SecretSet
        fields = ["name"]


class NetworksField(forms.CharField):
    """Networks, one a line."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        try:
            return api_keys.clean_networks(super().clean(value).split())
        except api_keys.InvalidKey as error:
            raise ValidationError(str(error)) from error


class ApiKeyForm(forms.ModelForm):
    """The fields of an API key. Its scopes are given once."""

    name = NameField(max_length=api_keys.MAX_NAME_CHARACTERS)
    scopes = forms.MultipleChoiceField(
        choices=ApiScope.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Admin includes operate, and operate includes read. Watch may only report failed boots.",
    )
    networks = NetworksField(
        required=False,
        label="Allowed networks",
        help_text="One a line, such as 10.0.0.0/8 or 192.0.2.7. Empty: the key may be used from anywhere.",
    )

    class Meta:
        model = ApiKey
        fields = ["name", "scopes", "expires_at", "networks"]
        help_texts = {"expires_at": "In UTC. Empty: the key never expires."}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk:
            # Django keeps a declared field although the page shows it as text.
            del self.fields["scopes"]

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if "expires_at" not in self.changed_data:
            return expires_at
        try:
            return api_keys.clean_expiry(expires_at)
        except api_keys.InvalidKey as error:
            raise ValidationError(str(error)) from error
