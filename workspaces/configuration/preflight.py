"""Preflight: check before a launch whether a workspace can start, and report every problem at once."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent import rules
from workspaces.access import secrets
from workspaces.configuration import catalog
from workspaces.configuration.diagnostics import Diagnostic, bounded
from workspaces.configuration.effective import EffectiveConfiguration, effective_configuration, inspect_effective
from workspaces.configuration.parser import BadConfig, CheckedConfig
from workspaces.configuration.suspicious import suspicious_values
from workspaces.deadlines.explanation import ignored_limit
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The effective config, and the environment from secrets: global ones, overridden by the workspace's own."""

    config: dict[str, Any]
    environment: Mapping[str, str]
    # What `config` was parsed from.
    source: EffectiveConfiguration

    @property
    def runtime(self) -> str:
        return rules.runtime_of(self.config)

    @property
    def provision_timeout_seconds(self) -> int | None:
        return rules.provision_timeout_seconds(self.config)

    @property
    def provision_timeout_override(self) -> bool:
        return rules.provision_timeout_override(self.config)

    @property
    def stall_timeout_seconds(self) -> int | None:
        return rules.stall_timeout_seconds(self.config)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that keeps a workspace from starting, and everything that is probably not meant."""

    problems: list[Diagnostic]
    warnings: list[Diagnostic]

    @property
    def ok(self) -> bool:
        return not self.problems


class PreflightFailed(Exception):
    """The workspace can't start; the message says why and what to do. `missing` names missing variables.

    `source` is its configuration, if that is valid.
    """

    def __init__(
        self,
        code: FailureCode,
        message: str,
        *,
        missing: list[str] | None = None,
        source: EffectiveConfiguration | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.missing = missing or []
        self.source = source


def examine(
    checked: CheckedConfig,
    environment: Mapping[str, str],
    *,
    model: str | None = None,
    problems: Iterable[Diagnostic] = (),
    warnings: Iterable[Diagnostic] = (),
) -> Report:
    """Return what is wrong with a config and the variables that its launch would get, and what else was found."""
    missing = checked.diagnostics(missing_variables(checked, environment, model))
    return Report(
        problems=bounded([*checked.problems, *missing, *problems]),
        warnings=bounded([*every_warning(checked, environment), *warnings]),
    )


def every_warning(checked: CheckedConfig, environment: Mapping[str, str]) -> list[Diagnostic]:
    """Return what is probably not meant in a config and in the variables that its launch would get."""
    return [*warnings_of(checked), *suspicious_values(environment)]


def missing_variables(
    checked: CheckedConfig, environment: Mapping[str, str], model: str | None
) -> Iterator[rules.Problem]:
    """Yield a problem for each requirement that the environment doesn't meet, with the key that asks for it."""
    places = rules.required_places(checked.config, model)
    entry = rules.matched_entry(checked.config, model)
    for requirement in rules.missing(checked.config, environment, model):
        message, advice = rules.name_missing([requirement])
        of_entry = entry is not None and places[requirement].startswith(f"{entry.place}.")
        hint = f"{advice} {entry}" if of_entry else advice
        yield rules.Problem(places[requirement], message, code="missing_env", hint=hint)


def warnings_of(checked: CheckedConfig) -> list[Diagnostic]:
    """Return what is probably not meant in a config: in its text, and in its boot limit."""
    ignored = ignored_limit(
        runtime=rules.runtime_of(checked.config),
        template_seconds=rules.provision_timeout_seconds(checked.config),
        template_overrides=rules.provision_timeout_override(checked.config),
    )
    path = "runtime_config.provision_timeout_seconds"
    found = [checked.diagnostic("ignored_limit", ignored, path=path)] if ignored else []
    return [*checked.warnings, *found]


def preflight(workspace: Workspace) -> Prepared:
    """Read the effective config.yaml and the environment; start nothing. Raises PreflightFailed with every problem.

    The config was valid when the workspace was created, but its template and its secrets may have changed since. The
    launch uses what is parsed here; nothing parses the text again.
    """
    place = "workspace's config.yaml" if workspace.config else f"template {workspace.template}"
    try:
        effective = effective_configuration(workspace)
    except (BadConfig, catalog.UnknownTemplate) as error:
        raise PreflightFailed(FailureCode.BAD_CONFIG, f"{error} Correct the {place}, then restart.") from error
    checked, model = inspect_effective(effective), workspace.model or None
    failures: dict[FailureCode, str] = {}
    missing: list[rules.Requirement] = []
    environment: Mapping[str, str] = {}
    if checked.problems:
        failures[FailureCode.BAD_CONFIG] = f"{BadConfig(*checked.problems)} Correct the {place}, then restart."
    try:
        environment = secrets.read_environment(workspace.pk)
        missing = rules.missing(checked.config, environment, model)
    except secrets.SecretUnreadable as error:
        failures[FailureCode.SECRET_UNREADABLE] = str(error)
    if missing:
        message = rules.missing_message(missing, rules.matched_entry(checked.config, model))
        failures[FailureCode.MISSING_ENV] = message
    for warning in bounded(every_warning(checked, environment)):
        logger.warning(
            "A configuration probably isn't meant", extra={"workspace_id": workspace.pk, "why": str(warning)}
        )
    if failures:
        raise PreflightFailed(
            next(iter(failures)),
            " ".join(failures.values()),
            missing=rules.missing_names(missing),
            source=None if checked.problems else effective,
        )
    return Prepared(config=checked.config, environment=environment, source=effective)
