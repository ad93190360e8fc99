"""Create a workspace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from agent import rules
from postgres.advisory_locks import AdvisoryLock, share_until_commit
from workspaces.access import agent_urls, secrets
from workspaces.access.masking import masker_of_sets
from workspaces.access.secret_sets import MAX_SETS
from workspaces.access.tokens import mint_agent_token
from workspaces.configuration.diagnostics import Diagnostic, bounded, findings_without_values
from workspaces.configuration.effective import inspect_source
from workspaces.configuration.parser import BadConfig, CheckedConfig
from workspaces.configuration.preflight import Report, examine, report_without_values
from workspaces.configuration.secret_files import GivenSecrets, given_secrets
from workspaces.configuration.variables import read_values
from workspaces.lifecycle.transitions import BudgetAction, RestartPolicy, Verb, WorkspaceStatus, find_transition
from workspaces.models import BackendKind, Heartbeat, Workspace
from workspaces.services.core import launch_records
from workspaces.services.core.fields import InvalidWorkspace, field_problems
from workspaces.services.core.transition import StatusChange, record_creation
from workspaces.services.core.trees import BadParent, lock_parent

# The fields of a request, besides its config and its secrets, that a preflight examines.
_EXAMINED = frozenset({"model", "runtime", "secret_sets"})


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """What an operator asks for: exactly one of `template`, `config` (the text of a config.yaml) and `external`.

    `provision_timeout_seconds` is the sweep limit for booting; `budget_limit` is in cents a month. `env_file` is the
    text of an env file with more secrets; those in `secrets` win. `secret_sets` names the sets of secrets that it
    shares with others; of equal secrets the one of the last set wins. `by` names the operator who asks.
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
    budget_action: BudgetAction = BudgetAction.NOTIFY
    hibernation_idle_minutes: int | None = None
    provision_timeout_seconds: int | None = None
    restart_policy: RestartPolicy = RestartPolicy.ON_FAILURE
    secrets: Mapping[str, str] = field(default_factory=dict)
    env_file: str = ""
    secret_sets: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Created:
    """A new workspace. `token` is the credential of an external one, shown once and not stored.

    `warnings` are what is probably not meant in the request.
    """

    workspace: Workspace
    token: str = ""
    warnings: list[Diagnostic] = field(default_factory=list)


class CheckedRequest(NamedTuple):
    """What a valid request describes: the unsaved workspace, its secrets, and what is probably not meant."""

    workspace: Workspace
    secrets: Mapping[str, str]
    warnings: list[Diagnostic]


@transaction.atomic
def create(request: CreateRequest, *, now: datetime) -> Created:
    """Create a workspace that is queued for launch, or an external one that awaits its agent. Raises InvalidWorkspace.

    The caller enqueues the launch on commit; Celery beat queues it again if that message is lost.
    """
    if request.secret_sets or request.parent_id:
        # Else the INSERT takes it. Here the sets must stay, and a parent's lock comes after it.
        share_until_commit(AdvisoryLock.SECRETS)
    workspace, own_secrets, warnings = check_request(request)
    if request.parent_id:
        try:
            lock_parent(request.parent_id)
        except BadParent as error:
            raise InvalidWorkspace({"parent_id": str(error)}) from error
    launch, launch_fields = launch_records.new_launch(workspace, now=now)
    if not request.external:
        workspace.status = WorkspaceStatus.PROVISIONING
        payload = launch_records.provisioning_payload(workspace, launch_fields)
    elif request.url:
        workspace.status = WorkspaceStatus.ONLINE
        payload = {"url": workspace.url, "agent_card": workspace.agent_card}
    else:
        workspace.status = WorkspaceStatus.AWAITING_AGENT
        payload = {"name": workspace.name}
    for name, value in ({"launch_id": launch.pk} if request.external else launch_fields).items():
        setattr(workspace, name, value)
    workspace.save(force_insert=True)
    Heartbeat.objects.create(workspace=workspace, launch_id=launch.pk, last_heartbeat_at=now)
    secrets.add_initial_secrets(own_secrets, workspace_id=workspace.pk, by=request.by)
    record_creation(find_transition(Verb.CREATE, workspace.status), StatusChange(workspace=workspace, payload=payload))
    token = mint_agent_token(workspace) if request.external else ""
    return Created(workspace=workspace, token=token, warnings=warnings)


def check_request(request: CreateRequest) -> CheckedRequest:
    """Return what the request describes. Raises InvalidWorkspace with every wrong field.

    A variable that is missing is none: its launch fails and says so, and its secret can be set meanwhile.
    """
    problems: dict[str, str] = {}
    checked = CheckedConfig(config={})
    try:
        checked = read_config(request)
    except InvalidWorkspace as error:
        problems |= error.fields
    given = given_secrets(request.secrets, env_file=request.env_file)
    # The one who asks may not know the secrets that a template repeats.
    make_masker = cache(partial(masker_of_sets, request.secret_sets[:MAX_SETS]))
    if checked.problems:
        shown = bounded(checked.problems)
        shown = findings_without_values(shown, make_masker()) if request.template else shown
        problems["config" if request.config else "template"] = str(BadConfig(*shown))
    if given.env_file_problem:
        problems["env_file"] = given.env_file_problem
    try:
        secrets.check_secrets(request.secrets if given.env_file_problem else given.values)
    except secrets.InvalidSecret as error:
        problems["secrets"] = str(error)
    # What is wrong with its tier or its name is told as a problem of the config.
    workspace = build_workspace(request, {} if checked.problems else checked.config)
    problems = field_problems(workspace) | problems
    if workspace.url and "url" not in problems:
        values = chain(given.values.values(), *secrets.readable_values(set(), request.secret_sets).values())
        try:
            agent_urls.check_agent_url(workspace.url)
            agent_urls.check_without_secrets(workspace.url, values, workspace_id=workspace.pk)
        except agent_urls.ForbiddenUrl as error:
            problems["url"] = str(error)
    report = examine_request(request, checked, given, is_refused=not _EXAMINED.isdisjoint(problems))
    report = report_without_values(report, make_masker) if request.template else report
    if problems:
        raise InvalidWorkspace(problems, problems=report.problems)
    return CheckedRequest(workspace, given.values, report.warnings)


def examine_request(request: CreateRequest, checked: CheckedConfig, given: GivenSecrets, *, is_refused: bool) -> Report:
    """Return what a preflight says of the request. What is stored is read only to explain a refusal.

    `is_refused`: for its sets of secrets, or for the model or the runtime that it names.
    """
    if not (is_refused or checked.problems or given.problems):
        return examine(checked, given=given, model=request.model, runtime=request.runtime)
    sets = request.secret_sets
    stored = read_values(sets[:MAX_SETS])
    return examine(checked, stored=stored, given=given, sets=sets, model=request.model, runtime=request.runtime)


def build_workspace(request: CreateRequest, config: dict[str, Any]) -> Workspace:
    """Return the unsaved workspace that the request and its config describe."""
    tier = config.get("tier")
    default_tier = tier if isinstance(tier, int) else 1
    return Workspace(
        name=request.name.strip() or str(config.get("name") or request.template or "workspace")[:100],
        role=request.role,
        template=request.template,
        config=request.config,
        runtime=request.runtime or (rules.runtime_of(config) if config else "external"),
        tier=request.tier if request.tier is not None else default_tier,
        model=request.model,
        backend=BackendKind.EXTERNAL if request.external else settings.PROVISIONER,
        parent_id=request.parent_id,
        url=request.url,
        budget_limit=request.budget_limit,
        budget_action=request.budget_action,
        hibernation_idle_minutes=request.hibernation_idle_minutes,
        provision_timeout_seconds=request.provision_timeout_seconds,
        restart_policy=request.restart_policy,
        template_timeout_seconds=rules.provision_timeout_seconds(config),
        template_timeout_override=rules.provision_timeout_override(config),
        stall_timeout_seconds=rules.stall_timeout_seconds(config),
        labels=dict(request.labels),
        secret_sets=list(request.secret_sets),
    )


def read_config(request: CreateRequest) -> CheckedConfig:
    """Return the config.yaml, pasted or the template's, with every problem; empty for an external workspace.

    Raises InvalidWorkspace if the request doesn't say what to run.
    """
    given = [name for name in ("template", "config", "external") if getattr(request, name)]
    if len(given) > 1:
        raise InvalidWorkspace({given[1]: f"Give a {given[0]} or {given[1]}, not both."})
    if not given:
        raise InvalidWorkspace({"template": "Give the name of a template or a config.yaml, or make it external."})
    if request.external:
        return CheckedConfig(config={})
    if request.url:
        raise InvalidWorkspace({"url": "Only an external workspace has a url of its own; others get one at launch."})
    return inspect_source(template=request.template, config=request.config or None)
