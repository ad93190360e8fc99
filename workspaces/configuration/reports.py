"""Preflight as a service: whether a workspace could be launched here and now. Nothing is stored or started."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

from django.conf import settings

from events.masking.masker import MASK, Masker
from workspaces.access.masking import masker_of, masker_of_sets
from workspaces.access.secret_sets import MAX_SETS
from workspaces.configuration.diagnostics import masks_of
from workspaces.configuration.effective import inspect_source
from workspaces.configuration.parser import CheckedConfig
from workspaces.configuration.preflight import Report, examine, load, report_without_values
from workspaces.configuration.secret_files import given_secrets
from workspaces.configuration.variables import Variable, describe_variables, read_values, read_variables, values_of
from workspaces.models import Workspace


class WorkspaceReport(NamedTuple):
    """What a preflight of a workspace found, its variables, and the config that its next launch would get."""

    report: Report
    variables: list[Variable]
    checked: CheckedConfig


def report_on_request(
    *,
    template: str = "",
    config: str | None = None,
    secrets: Mapping[str, str],
    env_file: str = "",
    sets: Sequence[str] = (),
    model: str = "",
    runtime: str = "",
) -> Report:
    """Return whether a new workspace could be launched from this config, or if that is None from this template.

    Whoever asks may not know the secrets that the template repeats.
    """
    report = examine(
        inspect_source(template=template, config=config),
        stored=read_values(sets[:MAX_SETS]),
        given=given_secrets(secrets, env_file=env_file),
        sets=sets,
        model=model,
        runtime=runtime,
        backend=settings.PROVISIONER,
    )
    return report if config is not None else report_without_values(report, partial(masker_of_sets, sets[:MAX_SETS]))


def report_on_workspace(
    workspace: Workspace, *, asks_backend: bool = True, reads_secrets: bool = True
) -> WorkspaceReport:
    """Return whether the workspace's next launch could start. An external workspace is never launched.

    Without `reads_secrets` only its configuration is checked.
    """
    if workspace.is_external:
        return WorkspaceReport(Report(), [], CheckedConfig(config={}))
    _, checked = load(workspace)
    make_masker = cache(partial(masker_of, workspace.pk))
    backend, model = workspace.backend if asks_backend else "", workspace.model
    if not reads_secrets:
        report = report_without_values(examine(checked, model=model, backend=backend), make_masker)
        return WorkspaceReport(report, [], checked)
    stored = read_variables(workspace_id=workspace.pk, secret_sets=workspace.secret_sets)
    found = examine(checked, stored=values_of(stored), model=model, backend=backend)
    report = report_without_values(found, make_masker)
    variables = describe_variables(checked.config, stored, model or None)
    return WorkspaceReport(report, names_without_values(variables, make_masker), checked)


def names_without_values(variables: Sequence[Variable], make_masker: Callable[[], Masker]) -> list[Variable]:
    """Return the variables with a mask for each secret in a name that only the config has.

    The masker is made only if there is such a name.
    """
    stored = {each.name for each in variables if each.source}
    of_config = {name for each in variables for name in (each.name, *each.any_of)} - stored
    masks = masks_of(of_config, make_masker()) if of_config else {}
    # A name may have a part in common with a secret.
    shown = {name: mask for name, mask in masks.items() if mask == MASK or make_masker().holds_whole(name)}
    return [
        replace(each, name=shown.get(each.name, each.name), any_of=[shown.get(name, name) for name in each.any_of])
        for each in variables
    ]
