"""Preflight: check before a launch whether a workspace can start, and report every problem at once.

`examine` is the one source of what is found: the API, create, each launch, the admin and the command use it. What the
agent checks inside its workspace are the same rules (agent/rules.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from agent import rules
from events.masking.masker import Masker
from workspaces.access import secrets
from workspaces.access.masking import masker_of
from workspaces.access.secret_sets import problem_with_sets
from workspaces.configuration import catalog
from workspaces.configuration.availability import unavailable
from workspaces.configuration.diagnostics import Diagnostic, bounded, findings_without_values
from workspaces.configuration.effective import (
    EffectiveConfiguration,
    effective_configuration,
    inspect_effective,
    unreadable,
)
from workspaces.configuration.parser import BadConfig, CheckedConfig
from workspaces.configuration.runtimes import unknown_runtime
from workspaces.configuration.secret_files import GivenSecrets
from workspaces.configuration.suspicious import suspicious_values
from workspaces.configuration.variables import read_effective_values
from workspaces.deadlines.explanation import ignored_limit
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Workspace

_NOTHING_GIVEN = GivenSecrets()
_SHOWN_SECRETS = 5


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that keeps a workspace from starting, and everything that is probably not meant."""

    problems: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The effective config, and the environment from secrets: global ones, overridden by the workspace's own."""

    config: dict[str, Any]
    environment: Mapping[str, str]
    # What `config` was parsed from.
    source: EffectiveConfiguration
    warnings: list[Diagnostic]

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


class PreflightFailed(Exception):
    """The workspace can't start; the message says why and what to do. `missing` names missing variables.

    `source` is its configuration, if that is valid.
    """

    def __init__(
        self,
        code: FailureCode,
        message: str,
        *,
        report: Report,
        missing: list[str],
        source: EffectiveConfiguration | None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.report = report
        self.missing = missing
        self.source = source


def examine(
    checked: CheckedConfig,
    *,
    stored: Mapping[str, str | None] | None = None,
    given: GivenSecrets = _NOTHING_GIVEN,
    sets: Sequence[str] = (),
    model: str = "",
    runtime: str = "",
    backend: str = "",
) -> Report:
    """Return what is wrong with a config and the variables that its launch would get, and what is probably not meant.

    `stored` are the values of stored secrets by name, None for one that can't be decrypted. Without it no variable is
    missing, since it may be stored. `given` are those of a request, which win, and `sets` the names of its sets.
    `model` and `runtime` are what a request names instead of the config. A `backend` and the launch workers are asked
    whether they are there, which may take seconds.
    """
    values = stored or {}
    # A stored one that can't be read counts as set: its own problem says what to do.
    known = {name: "unreadable" if value is None else value for name, value in values.items()}
    environment = {**known, **given.values}
    missing = missing_variables(checked, environment, model or None) if stored is not None else ()
    problems = [
        *checked.problems,
        *checked.diagnostics(missing),
        *bad_names(model=model, runtime=runtime),
        *given.problems,
        *bad_sets(sets),
        *(unreadable_secret(name) for name in values if values[name] is None and name not in given.values),
        *(unavailable(backend) if backend else ()),
    ]
    warnings = [
        *checked.warnings,
        *limit_warnings(checked),
        *suspicious_values(environment, lines=given.lines),
        *given.warnings,
        *unknown_runtime(checked, requested=runtime),
    ]
    return Report(problems=bounded(problems), warnings=bounded(warnings))


def report_without_values(report: Report, make_masker: Callable[[], Masker]) -> Report:
    """Return what was found about a config without the secrets that it may repeat.

    The masker is made only if there is something to mask, since it reads every secret.
    """
    if all(each.is_of_secret for each in [*report.problems, *report.warnings]):
        return report
    masker = make_masker()
    return Report(
        problems=findings_without_values(report.problems, masker),
        warnings=findings_without_values(report.warnings, masker),
    )


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
        texts = (entry.id, entry.model) if entry and of_entry else ()
        yield rules.Problem(places[requirement], message, code="missing_env", hint=hint, texts=texts)


def bad_names(*, model: str, runtime: str) -> list[Diagnostic]:
    """Return the problems of the model and the runtime that a request names."""
    return [
        Diagnostic(code=each.code, message=f"{each.key} {each.message}.", path=each.key)
        for each in rules.check_requested(model=model, runtime=runtime)
    ]


def bad_sets(names: Sequence[str]) -> list[Diagnostic]:
    """Return a problem if a workspace can't have these sets of secrets."""
    problem = problem_with_sets(names) if names else None
    return [Diagnostic(code="bad_secret", message=problem, path="secret_sets")] if problem else []


def unreadable_secret(name: str) -> Diagnostic:
    """Return the problem of a stored secret that can't be decrypted."""
    return Diagnostic(code="secret_unreadable", message=str(secrets.SecretUnreadable(name)), path=f"secrets.{name}")


def limit_warnings(checked: CheckedConfig) -> list[Diagnostic]:
    """Return a warning if the boot limit of a config has no effect."""
    ignored = ignored_limit(
        runtime=rules.runtime_of(checked.config),
        template_seconds=rules.provision_timeout_seconds(checked.config),
        template_overrides=rules.provision_timeout_override(checked.config),
    )
    path = "runtime_config.provision_timeout_seconds"
    return [checked.diagnostic("ignored_limit", ignored, path=path)] if ignored else []


def preflight(workspace: Workspace) -> Prepared:
    """Read the effective config.yaml and the environment; start nothing. Raises PreflightFailed with every problem.

    Neither the problems nor the warnings hold a secret that the config repeats.

    The config was valid when the workspace was created, but its template and its secrets may have changed since. The
    launch uses what is parsed here; nothing parses the text again.
    """
    source, checked = load(workspace)
    stored = read_effective_values(workspace.pk)
    make_masker = cache(partial(masker_of, workspace.pk))
    report = report_without_values(examine(checked, stored=stored, model=workspace.model), make_masker)
    environment = {name: value for name, value in stored.items() if value is not None}
    if report.problems or source is None:
        missing = rules.missing(checked.config, dict.fromkeys(stored, "unreadable") | environment, workspace.model)
        failures = failure_messages(workspace, checked, stored, missing, make_masker())
        raise PreflightFailed(
            next(iter(failures)),
            " ".join(failures.values()),
            report=report,
            missing=rules.missing_names(missing),
            source=None if checked.problems else source,
        )
    return Prepared(config=checked.config, environment=environment, source=source, warnings=report.warnings)


def load(workspace: Workspace) -> tuple[EffectiveConfiguration | None, CheckedConfig]:
    """Return the configuration of a workspace's next launch, None if it can't be read, with every problem in it."""
    try:
        source = effective_configuration(workspace)
    except (BadConfig, catalog.UnknownTemplate) as error:
        return None, unreadable(error)
    return source, replace(inspect_effective(source), template=workspace.template)


def failure_messages(
    workspace: Workspace,
    checked: CheckedConfig,
    stored: Mapping[str, str | None],
    missing: Sequence[rules.Requirement],
    masker: Masker,
) -> dict[FailureCode, str]:
    """Return what a failed launch says, without secrets, by the code of each failure: the first is the launch's."""
    failures: dict[FailureCode, Diagnostic] = {}

    def say(code: FailureCode, message: str, *texts: str) -> None:
        failures[code] = Diagnostic(code=code, message=message, texts=texts)

    sentences, texts = [], [text for each in bounded(checked.problems) for text in each.texts]
    if checked.problems:
        place = "workspace's config.yaml" if workspace.config else f"template {workspace.template}"
        sentences.append(f"{BadConfig(*checked.problems)} Correct the {place}, then restart.")
    if names := bad_names(model=workspace.model, runtime=""):
        sentences.append(f"{BadConfig(*names)} Create a workspace with another model instead of this one.")
    if sentences:
        say(FailureCode.BAD_CONFIG, " ".join(sentences), *texts)
    if lost := [name for name, value in stored.items() if value is None]:
        unreadable_ones = [str(secrets.SecretUnreadable(name)) for name in lost[:_SHOWN_SECRETS]]
        more = len(lost) - _SHOWN_SECRETS
        say(FailureCode.SECRET_UNREADABLE, " ".join([*unreadable_ones, *([f"And {more} more."] if more > 0 else [])]))
    if missing:
        entry = rules.matched_entry(checked.config, workspace.model)
        say(FailureCode.MISSING_ENV, rules.missing_message(missing, entry), *((entry.id, entry.model) if entry else ()))
    masked = findings_without_values(list(failures.values()), masker)
    return {code: each.message for code, each in zip(failures, masked, strict=True)}
