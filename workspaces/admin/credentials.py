"""Secrets and API keys in the admin. Values are never shown."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import action as list_action
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import display

from events.admin.sent_forms import claim
from postgres.clock import database_now
from workspaces.access import secret_sets, secrets
from workspaces.access.api_keys import InvalidKey, KeyState, UnknownKey, change_api_key, mint_api_key, state_of
from workspaces.admin.base import StrictAdmin
from workspaces.admin.display import display_time
from workspaces.admin.forms import ApiKeyForm, SecretForm, SecretSetForm
from workspaces.models import ApiKey, Secret, SecretSet
from workspaces.services.core import secret_changes


class SecretAdmin(StrictAdmin):
    """Secrets by name. A value can be replaced or deleted, never read."""

    form = SecretForm
    refusals = (secrets.InvalidSecret,)
    list_display = ["name", "origin", "version", "updated", "set_by"]
    search_fields = ["name", "workspace__name", "workspace__id", "secret_set__name"]
    search_help_text = "Name, the set's name, or the workspace's name or ID"
    ordering = ["name", "pk"]
    raw_id_fields = ["workspace"]
    fields = ["workspace", "secret_set", "name", "value"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Secret]:
        return super().get_queryset(request).select_related("workspace").defer("ciphertext")

    def get_readonly_fields(self, request: HttpRequest, obj: Secret | None = None) -> list[str]:
        return ["workspace", "secret_set", "name"] if obj else []

    @display(description="Belongs to", ordering="workspace__name")
    def origin(self, secret: Secret) -> str:
        return secret.origin if secret.workspace_id or secret.secret_set_id else "All workspaces"

    @display(description="Set", ordering="updated_at")
    def updated(self, secret: Secret) -> str:
        return display_time(secret.updated_at)

    def save_model(self, request: HttpRequest, obj: Secret, form: SecretForm, change: Any) -> None:
        value, by = form.cleaned_data["value"], request.user.get_username()
        secret_changes.set_secrets(
            {obj.name: value}, workspace_id=obj.workspace_id, secret_set=obj.secret_set_id, by=by
        )
        obj.pk = Secret.objects.get(workspace=obj.workspace, secret_set=obj.secret_set, name=obj.name).pk

    def delete_model(self, request: HttpRequest, obj: Secret) -> None:
        self.delete_queryset(request, Secret.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Secret]) -> None:
        secret_changes.delete_secrets(queryset, by=request.user.get_username())


class SecretSetAdmin(StrictAdmin):
    """Sets of secrets. Add secrets to one on the page of a secret, and the set to workspaces on theirs."""

    form = SecretSetForm
    refusals = (secret_sets.UnknownSet, secret_sets.SetInUse)
    list_display = ["name", "secret_names", "users"]
    search_fields = ["name"]
    ordering = ["name"]
    fields = ["name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SecretSet]:
        return super().get_queryset(request).prefetch_related("secrets")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a set is known by its name."""
        return False

    @display(description="Secrets")
    def secret_names(self, secret_set: SecretSet) -> str:
        return ", ".join(secret.name for secret in secret_set.secrets.all())

    @display(description="Workspaces")
    def users(self, secret_set: SecretSet) -> int:
        return secrets.workspaces_with(secret_set.name).count()

    def has_delete_permission(self, request: HttpRequest, obj: SecretSet | None = None) -> bool:
        """Return whether the user may delete it; no one may while a workspace has it."""
        may = bool(super().has_delete_permission(request, obj))
        return may and not (obj and secrets.workspaces_with(obj.name).exists())

    def delete_model(self, request: HttpRequest, obj: SecretSet) -> None:
        secret_sets.delete_set(obj.name)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return no action that deletes many: each is asked whether a workspace has it."""
        return {}


_STATE_COLOURS = {KeyState.VALID: "success", KeyState.EXPIRED: "warning", KeyState.REVOKED: "danger"}


class ApiKeyAdmin(StrictAdmin):
    """API keys. A key is shown once, when it is created."""

    form = ApiKeyForm
    refusals = (UnknownKey, InvalidKey)
    list_display = ["name", "beginning", "scope_names", "network_names", "created", "used", "expires", "state"]
    search_fields = ["name", "prefix"]
    ordering = ["name", "pk"]
    actions = ["revoke"]
    fields = ["name", "scopes", "expires_at", "networks"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).with_clock()

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["scope_names"] if obj else []

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["name", "scope_names", "expires_at", "networks"] if obj else self.fields

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Refuse a revoked key: nothing about it changes."""
        return super().has_change_permission(request, obj) and not (obj and obj.revoked_at)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: revoked keys are kept."""
        return False

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("workspaces.change_apikey"))

    @display(description="Begins with")
    def beginning(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @display(description="Scopes")
    def scope_names(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @display(description="From")
    def network_names(self, key: ApiKey) -> str:
        return ", ".join(key.networks) or "Anywhere"

    @display(description="Last used", ordering="last_used_at")
    def used(self, key: ApiKey) -> str:
        return display_time(key.last_used_at) or "Never"

    @display(description="Expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> str:
        return display_time(key.expires_at) or "Never"

    @display(description="Created", ordering="created_at")
    def created(self, key: ApiKey) -> str:
        return display_time(key.created_at)

    @display(description="State", ordering="revoked_at", label=_STATE_COLOURS)
    def state(self, key: ApiKey) -> tuple[str, str]:
        found = state_of(key)
        return found, found.label

    def save_model(self, request: HttpRequest, obj: ApiKey, form: ApiKeyForm, change: Any) -> None:
        if change:
            change_api_key(obj.pk, {name: form.cleaned_data[name] for name in form.changed_data})
            return
        claim(request)
        row, request.new_key = mint_api_key(**form.cleaned_data)  # type: ignore[attr-defined]
        obj.pk = row.pk

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        values = [(f"Key of {obj.name}", str(request.new_key))]  # type: ignore[attr-defined]
        back = reverse("admin:workspaces_apikey_changelist")
        return self.show_once(request, values, advice="Store the key now. It can't be shown again.", back=back)

    @list_action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        revoked = queryset.filter(revoked_at__isnull=True).update(revoked_at=database_now())
        self.message_user(request, f"{revoked} revoked.", messages.SUCCESS)
