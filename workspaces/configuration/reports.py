"""Preflight as a service: whether a workspace could be launched here and now. Nothing is stored or started."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.conf import settings
from django.core.cache import cache

from agent import rules
from workspaces.access import secrets
from workspaces.access.secret_sets import MAX_SETS, problem_with_sets
from workspaces.configuration import catalog
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.effective import effective_configuration, inspect_effective
from workspaces.configuration.parser import BadConfig, CheckedConfig
from workspaces.configuration.preflight import Report, examine
from workspaces.configuration.runtimes import unknown_runtime
from workspaces.configuration.variables import StoredVariable, Variable, describe_variables, read_variables
from workspaces.models import Workspace
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.base import ProvisionerError
from workspaces.workers import LAUNCH_QUEUE, NoWorker, require_worker

# Asking the workers takes a second, and several callers may ask at once.
_KEEP_ANSWER_SECONDS = 5
_CACHE_KEY = "slipway.preflight.no_worker"


class WorkspaceReport(NamedTuple):
    """What a preflight of a workspace found, and its variables."""

    report: Report
    variables: list[Variable]


def report_on_config(
    checked: CheckedConfig,
    *,
    given: Mapping[str, str],
    sets: Sequence[str] = (),
    model: str = "",
    runtime: str = "",
    here: bool = True,
) -> Report:
    """Return whether a new workspace could be launched with this config and these secrets.

    `sets` names sets of secrets that it would have. `here` counts the global secrets too, and asks this installation's
    backend and workers.
    """
    stored = read_variables(secret_sets=sets[:MAX_SETS]) if here else {}
    wrong = [*bad_secrets(given), *bad_sets(sets), *unreadable(stored, overridden=given)]
    absent = unavailable(settings.PROVISIONER) if here else []
    return examine(
        checked,
        {**readable(stored), **given},
        model=model or None,
        problems=[*wrong, *absent],
        warnings=[] if checked.root is None else unknown_runtime(checked, requested=runtime),
    )


def report_on_workspace(workspace: Workspace) -> WorkspaceReport:
    """Return whether the workspace's next launch could start. An external workspace is never launched."""
    if workspace.is_external:
        return WorkspaceReport(Report(problems=[], warnings=[]), [])
    try:
        checked = inspect_effective(effective_configuration(workspace))
    except (BadConfig, catalog.UnknownTemplate) as error:
        checked = CheckedConfig(config={}, problems=problems_of(error))
    stored = read_variables(workspace_id=workspace.pk, secret_sets=workspace.secret_sets)
    model = workspace.model or None
    report = examine(
        checked,
        readable(stored),
        model=model,
        problems=[*unreadable(stored), *unavailable(workspace.backend)],
        warnings=[] if checked.root is None else unknown_runtime(checked),
    )
    return WorkspaceReport(report, describe_variables(checked.config, stored, model))


def problems_of(error: BadConfig | catalog.UnknownTemplate) -> list[Diagnostic]:
    """Return why the configuration can't be read at all."""
    if isinstance(error, BadConfig):
        return error.problems
    return [Diagnostic(code="unknown_template", message=str(error), path="template")]


def readable(stored: Mapping[str, StoredVariable]) -> dict[str, str]:
    """Return the stored values by name. One that can't be read counts as set: its own problem says what to do."""
    return {name: "unreadable" if each.value is None else each.value for name, each in stored.items()}


def unreadable(stored: Mapping[str, StoredVariable], *, overridden: Iterable[str] = ()) -> list[Diagnostic]:
    """Return a problem for each stored secret that can't be decrypted and that no other value overrides."""
    names = [name for name, each in stored.items() if each.value is None and name not in overridden]
    return [
        Diagnostic(code="secret_unreadable", message=str(secrets.SecretUnreadable(name)), path=f"secrets.{name}")
        for name in names
    ]


def bad_secrets(given: Mapping[str, str]) -> list[Diagnostic]:
    """Return a problem for each name or value that can't be a secret."""
    found = [
        Diagnostic(code="bad_secret", message=problem, path=f"secrets.{rules.display_key(name)}")
        for name, value in given.items()
        if (problem := secrets.problem_with(name, value))
    ]
    if len(given) > secrets.MAX_SECRETS:
        message = f"These are {len(given)} secrets. A workspace can have {secrets.MAX_SECRETS}."
        found.insert(0, Diagnostic(code="bad_secret", message=message, path="secrets"))
    return found


def bad_sets(names: Sequence[str]) -> list[Diagnostic]:
    """Return a problem if a workspace can't have these sets of secrets."""
    problem = problem_with_sets(names) if names else None
    return [Diagnostic(code="bad_secret", message=problem, path="secret_sets")] if problem else []


def unavailable(backend: str) -> list[Diagnostic]:
    """Return why no launch can start now: its backend does not answer, or no worker is alive that launches."""
    found = []
    try:
        guarded_calls.call(
            backend,
            "list for preflight",
            "all",
            lambda adapter: adapter.running_launches(),
            seconds=guarded_calls.LOOK_SECONDS,
        )
    except ProvisionerError as error:
        message = f"The backend {backend} is not available: {error}"
        hint = "Correct what it names, or ask whoever runs Slipway."
        found.append(Diagnostic(code="backend_unavailable", message=message, hint=hint))
    no_worker = cache.get(_CACHE_KEY)
    if no_worker is None:
        no_worker = why_no_worker()
        cache.set(_CACHE_KEY, no_worker, _KEEP_ANSWER_SECONDS)
    if no_worker:
        found.append(Diagnostic(code="no_worker", message=no_worker))
    return found


def why_no_worker() -> str:
    """Return the sentence that says why no launch worker takes this launch, "" if one does. Takes a second or more."""
    try:
        require_worker(LAUNCH_QUEUE)
    except NoWorker as error:
        return str(error)
    return ""
