"""Create a workspace."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from agent import rules
from workspaces.access import agent_urls
from workspaces.access import secrets as access_secrets
from workspaces.access.tokens import mint_agent_token
from workspaces.configuration import catalog
from workspaces.configuration.parser import BadConfig, parse_config
from workspaces.lifecycle.transitions import RestartPolicy, Verb, WorkspaceStatus, find_transition
from workspaces.models import MAX_TIMEOUT_SECONDS, BackendKind, Heartbeat, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.transition import StatusChange, record_creation
from workspaces.services.core.trees import BadParent, lock_parent

# Control characters and halves of surrogate pairs: no terminal, header or database takes them as text.
_UNPRINTABLE = frozenset({"Cc", "Cs"})


class InvalidWorkspace(ValueError):
    """The request can't become a workspace; `fields` says why for each field. Nothing was created."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join(fields.values()))
        self.fields = dict(fields)


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """What an operator asks for. One of template, config and external says what runs.

    `provision_timeout_seconds` is its sweep limit for booting; `budget_limit` is in cents.
    """

    name: str = ""
    role: str = ""
    template: str = ""
    config: str = ""
    runtime: str = ""
    tier: int | None = None
    model: str = ""
    external: bool = False
    url: str = ""
    parent_id: UUID | None = None
    budget_limit: int | None = None
    hibernation_idle_minutes: int | None = None
    provision_timeout_seconds: int | None = None
    restart_policy: RestartPolicy = RestartPolicy.ON_FAILURE
    secrets: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Created:
    """A new workspace; `token` is an external one's credential, shown once and kept nowhere."""

    workspace: Workspace
    token: str = ""


@transaction.atomic
def create(request: CreateRequest, *, now: datetime) -> Created:
    """Create a workspace that is queued for launch, or an external one that awaits its agent. Raises InvalidWorkspace.

    The caller enqueues its launch on commit; where that message is lost, beat repeats it.
    """
    workspace = _validated(request)
    _lock_parent(request.parent_id)
    launch, begun = launch_records.new_launch(workspace, now=now)
    workspace.status = _first_status(request)
    fields = {"launch_id": launch.pk} if request.external else begun
    for name, value in fields.items():
        setattr(workspace, name, value)
    workspace.save(force_insert=True)
    Heartbeat.objects.create(workspace=workspace, launch_id=launch.pk, last_heartbeat_at=now)
    _put_secrets(request, workspace)
    row = find_transition(Verb.CREATE, workspace.status)
    record_creation(row, StatusChange(workspace=workspace, payload=_payload(workspace, begun)))
    return Created(workspace=workspace, token=mint_agent_token(workspace) if request.external else "")


def _first_status(request: CreateRequest) -> WorkspaceStatus:
    if not request.external:
        return WorkspaceStatus.PROVISIONING
    return WorkspaceStatus.ONLINE if request.url else WorkspaceStatus.AWAITING_AGENT


def _payload(workspace: Workspace, begun: dict[str, Any]) -> dict[str, Any]:
    if workspace.status == WorkspaceStatus.ONLINE:
        return {"url": workspace.url, "agent_card": workspace.agent_card}
    if workspace.status == WorkspaceStatus.AWAITING_AGENT:
        return {"name": workspace.name}
    return launch_records.provisioning_payload(workspace, begun)


def _validated(request: CreateRequest) -> Workspace:
    """Return the unsaved workspace that the request describes. Raises InvalidWorkspace with every wrong field."""
    text = _config_text(request)
    config = _parsed(text, field="config" if request.config else "template") if text else {}
    workspace = Workspace(
        name=request.name.strip() or str(config.get("name") or request.template or "workspace")[:100],
        role=request.role.strip(),
        template=request.template,
        config=request.config,
        runtime=request.runtime or (rules.runtime_of(config) if config else "external"),
        tier=request.tier if request.tier is not None else _tier(config),
        model=request.model.strip(),
        backend=BackendKind.EXTERNAL if request.external else settings.PROVISIONER,
        parent_id=request.parent_id,
        url=request.url,
        budget_limit=request.budget_limit,
        hibernation_idle_minutes=request.hibernation_idle_minutes,
        provision_timeout_seconds=request.provision_timeout_seconds,
        restart_policy=request.restart_policy,
        template_timeout_seconds=rules.provision_timeout_seconds(config),
        stall_timeout_seconds=rules.stall_timeout_seconds(config),
        labels=dict(request.labels),
    )
    _check_fields(request, workspace)
    return workspace


def _config_text(request: CreateRequest) -> str:
    given = [name for name in ("template", "config", "external") if getattr(request, name)]
    if len(given) > 1:
        raise InvalidWorkspace({given[1]: f"Give a {given[0]} or {given[1]}, not both."})
    if not given:
        raise InvalidWorkspace({"template": "Give a template's name or a config.yaml, or say that it is external."})
    if request.url and not request.external:
        raise InvalidWorkspace({"url": "Only an external workspace brings a url; ours get one when they start."})
    if request.config:
        return request.config
    try:
        return catalog.read_config_text(request.template) if request.template else ""
    except (catalog.UnknownTemplate, BadConfig) as error:
        raise InvalidWorkspace({"template": str(error)}) from error


def _parsed(text: str, *, field: str) -> dict[str, Any]:
    try:
        return parse_config(text)
    except BadConfig as error:
        raise InvalidWorkspace({field: str(error)}) from error


def _tier(config: Mapping[str, Any]) -> int:
    tier = config.get("tier")
    return tier if isinstance(tier, int) else 1


def _check_fields(request: CreateRequest, workspace: Workspace) -> None:
    problems: dict[str, str] = {}
    try:
        workspace.clean_fields(exclude=["parent", "agent_card"])
    except ValidationError as error:
        problems |= {name: f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items()}
    for name in ("name", "role", "model", "runtime"):
        if any(unicodedata.category(character) in _UNPRINTABLE for character in getattr(workspace, name)):
            problems[name] = f"{name} holds a control character."
    limit = request.provision_timeout_seconds
    if limit is not None and not 1 <= limit <= MAX_TIMEOUT_SECONDS:
        problems["provision_timeout_seconds"] = (
            f"provision_timeout_seconds must be a whole number from 1 to {MAX_TIMEOUT_SECONDS}, not {limit}."
        )
    try:
        agent_urls.check_agent_url(request.url) if request.url else None
    except agent_urls.ForbiddenUrl as error:
        problems["url"] = str(error)
    if problems:
        raise InvalidWorkspace(problems)


def _put_secrets(request: CreateRequest, workspace: Workspace) -> None:
    try:
        access_secrets.add_initial_secrets(request.secrets, workspace_id=workspace.pk)
    except access_secrets.InvalidSecret as error:
        raise InvalidWorkspace({"secrets": str(error)}) from error


def _lock_parent(parent_id: UUID | None) -> None:
    """Hold the parent's tree while a child is made. Raises InvalidWorkspace where nothing may be made under it."""
    if parent_id is None:
        return
    try:
        lock_parent(parent_id)
    except BadParent as error:
        raise InvalidWorkspace({"parent_id": str(error)}) from error
